"""What ranks print becomes whole lines with the rank in front."""

from modelyard_trainer.output import LinePrefix


def test_lines_are_completed_across_chunks_and_prefixed() -> None:
    prefix = LinePrefix()
    assert prefix.feed(b"2\nlo") == b""
    assert prefix.feed(b"ss 0.5\nacc") == b"[rank 2] loss 0.5\n"
    assert prefix.close() == b"[rank 2] acc\n"
    assert prefix.close() == b""


def test_a_line_without_end_is_broken() -> None:
    prefix = LinePrefix()
    prefix.feed(b"0\n")
    assert prefix.feed(b"x" * 9000) == b"[rank 0] " + b"x" * 9000 + b"\n"
