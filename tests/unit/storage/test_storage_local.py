from pathlib import Path

import pytest

from modelyard.storage.local import LocalFolder


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder("pvc://models/a", tmp_path / "a")


@pytest.mark.parametrize("kept", ["second", "first"])
def test_of_two_writers_at_once_the_last_one_replaces_or_the_first_one_is_kept(folder: LocalFolder, kept: str) -> None:
    replace = kept == "second"
    with folder.staged("marker", replace=replace) as second:
        (second / "marker").write_text("second")
        with folder.staged("marker", replace=replace) as first:
            (first / "marker").write_text("first")
    assert folder.fetch("marker").read_text() == kept
    assert [path.name for path in folder.directory.parent.iterdir()] == ["a"]


def test_a_folder_without_its_marker_is_replaced(folder: LocalFolder) -> None:
    folder.directory.mkdir()
    (folder.directory / "rest").write_text("of a copy that somebody broke off")
    with folder.staged("marker", replace=False) as staging:
        (staging / "marker").write_text("whole")
    assert [path.name for path in folder.directory.iterdir()] == ["marker"]


def half_written(folder: LocalFolder) -> None:
    with folder.staged("marker", replace=True) as staging:
        (staging / "marker").write_text("half")
        raise InterruptedError


def test_a_block_that_raises_changes_nothing(folder: LocalFolder) -> None:
    with pytest.raises(InterruptedError):
        half_written(folder)
    assert list(folder.directory.parent.iterdir()) == []
