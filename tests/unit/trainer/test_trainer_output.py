"""What ranks print becomes whole lines with the rank in front."""

from modelyard_trainer.output import ANNOUNCEMENT, LinePrefix


def test_lines_are_completed_across_chunks_and_prefixed() -> None:
    prefix = LinePrefix()
    assert prefix.feed(ANNOUNCEMENT + b"2\nlo") == b""
    assert prefix.feed(b"ss 0.5\nacc") == b"[rank 2] loss 0.5\n"
    assert prefix.close() == b"[rank 2] acc\n"
    assert prefix.close() == b""


def test_a_line_without_end_is_broken() -> None:
    prefix = LinePrefix()
    prefix.feed(ANNOUNCEMENT + b"0\n")
    assert prefix.feed(b"x" * 9000) == b"[rank 0] " + b"x" * 9000 + b"\n"


def test_the_next_generation_of_ranks_announces_itself_behind_half_a_line() -> None:
    prefix = LinePrefix()
    prefix.feed(ANNOUNCEMENT + b"0\nkilled in the")
    assert prefix.feed(ANNOUNCEMENT + b"1\nagain\n") == b"[rank 0] killed in the\n[rank 1] again\n"
