"""The page that a rank shares with its launcher."""

from pathlib import Path

from modelyard_trainer.pulse import Pulse


def test_both_sides_see_the_same_page(tmp_path: Path) -> None:
    launcher, rank = Pulse(tmp_path / "pulse" / "0", new=True), Pulse(tmp_path / "pulse" / "0")
    rank.beat()
    rank.saving = True
    assert (launcher.beats, launcher.saving) == (1, True)
    launcher.stop_at(2)
    assert not rank.stopping
    rank.beat()
    assert rank.stopping


def test_silence_counts_from_the_first_report_and_not_while_paused(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "0", new=True)
    assert pulse.silent_seconds == 0
    pulse.beat()
    assert pulse.silent_seconds > 0
    pulse.pause()
    assert pulse.silent_seconds == 0
    pulse.go_on()
    assert pulse.silent_seconds > 0


def test_a_new_generation_of_ranks_starts_with_an_empty_page(tmp_path: Path) -> None:
    Pulse(tmp_path / "0", new=True).beat()
    assert Pulse(tmp_path / "0", new=True).beats == 0
