"""A checkpoint counts only when it is whole, and belongs to one job."""

import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch

from modelyard.contract.runs import Objective
from modelyard.storage.errors import StorageError
from modelyard.storage.local import LocalFolder
from modelyard_trainer.checkpoint import Checkpoints

CPU = torch.device("cpu")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(store=LocalFolder("pvc://ckpt/digits", tmp_path), job_uid="uid-1", attempt=1, keep_latest=2)


@pytest.fixture
def small_files_only() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def state(value: float) -> dict[str, object]:
    return {"model": {"weight": torch.full((3,), value)}, "epoch": int(value)}


def steps(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in (checkpoints.store.directory / checkpoints.job_uid).iterdir())


def test_what_was_committed_is_loaded_again(checkpoints: Checkpoints) -> None:
    report = checkpoints.commit(7, state(3))
    assert report.uri == "pvc://ckpt/digits/uid-1/step-00000007"
    assert checkpoints.newest() == report
    loaded, _ = checkpoints.load(report, CPU)
    assert (loaded["step"], loaded["epoch"], loaded["model"]["weight"].tolist()) == (7, 3, [3.0, 3.0, 3.0])


def test_the_newest_are_kept(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.commit(step, state(step))
    assert steps(checkpoints) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize(("goal", "kept"), [("Maximize", [1, 3, 4]), ("Minimize", [2, 3, 4])])
def test_the_best_is_kept_beside_the_newest(
    checkpoints: Checkpoints, goal: Literal["Maximize", "Minimize"], kept: list[int]
) -> None:
    choosy = dataclasses.replace(checkpoints, keep_best=1, objective=Objective(metric="accuracy", goal=goal))
    for step, accuracy in ((1, 0.9), (2, 0.1), (3, 0.5), (4, 0.6)):
        choosy.commit(step, state(step), metric=accuracy, best=0.9)
    assert steps(choosy) == [f"step-{step:08d}" for step in kept]


def test_a_job_starts_from_the_checkpoint_of_another_until_it_has_its_own(checkpoints: Checkpoints) -> None:
    other = checkpoints.commit(7, state(3), metric=0.5, best=0.75)
    mine = dataclasses.replace(
        checkpoints, job_uid="uid-2", elsewhere=(checkpoints.store / "uid-1" / "step-00000007", other.digest)
    )
    assert mine.start() == other
    loaded, commit = mine.load(other, CPU)
    assert (loaded["step"], loaded["epoch"], commit.best) == (7, 3, 0.75)
    own = mine.commit(8, state(4))
    assert mine.start() == own


def test_a_checkpoint_of_another_job_must_be_the_one_that_was_named(checkpoints: Checkpoints) -> None:
    checkpoints.commit(7, state(3))
    place = checkpoints.store / "uid-1" / "step-00000007"
    mine = dataclasses.replace(checkpoints, job_uid="uid-2", elsewhere=(place, f"sha256:{'0' * 64}"))
    with pytest.raises(StorageError, match="expected the checkpoint sha256:0000"):
        mine.start()


@pytest.mark.parametrize("damage", ["state.pt", "commit.json"])
def test_a_damaged_checkpoint_is_skipped(
    checkpoints: Checkpoints, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = checkpoints.commit(1, state(1))
    checkpoints.commit(2, state(2))
    path = checkpoints.store.directory / "uid-1" / "step-00000002" / damage
    path.write_bytes(path.read_bytes()[:-9] + b"damaged..")
    assert checkpoints.newest() == good
    assert "skipped a damaged checkpoint: pvc://ckpt/digits/uid-1/step-00000002" in capsys.readouterr().out


def test_a_commit_replaces_the_damaged_and_what_lies_beyond_it(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.commit(step, state(step))
    checkpoints.commit(2, state(2))
    assert steps(checkpoints) == ["step-00000002"]


def test_a_half_written_checkpoint_does_not_count_and_is_removed_later(checkpoints: Checkpoints) -> None:
    half = checkpoints.store.directory / "uid-1" / ".partial-00000009"
    half.mkdir(parents=True)
    (half / "state.pt").write_bytes(b"half")
    assert checkpoints.newest() is None
    checkpoints.commit(1, state(1))
    assert steps(checkpoints) == ["step-00000001"]


def test_another_job_of_the_same_name_starts_afresh(checkpoints: Checkpoints) -> None:
    checkpoints.commit(1, state(1))
    again = dataclasses.replace(checkpoints, job_uid="uid-2")
    assert again.newest() is None
    again.commit(5, state(5))
    assert steps(checkpoints) == ["step-00000001"]


def test_a_checkpoint_copied_from_another_job_is_skipped(checkpoints: Checkpoints) -> None:
    checkpoints.commit(1, state(1))
    (checkpoints.store.directory / "uid-1").rename(checkpoints.store.directory / "uid-2")
    assert dataclasses.replace(checkpoints, job_uid="uid-2").newest() is None


def test_a_state_that_needs_unpickling_is_refused(checkpoints: Checkpoints) -> None:
    with pytest.raises(ValueError, match=r"run\.checkpoint takes state_dicts, tensors"):
        checkpoints.commit(1, {"path": Path("a")})
    assert steps(checkpoints) == []


@pytest.mark.usefixtures("small_files_only")
def test_a_failed_write_leaves_nothing_behind(checkpoints: Checkpoints) -> None:
    with pytest.raises(StorageError, match=r"pvc://ckpt/digits/uid-1/step-00000001: File too large") as refused:
        checkpoints.commit(1, {"model": torch.zeros(10_000)})
    assert refused.value.reason == "CheckpointFailed"
    assert steps(checkpoints) == []
