"""Checkpoints in a thread: what waits, what is replaced, and what becomes of errors."""

import threading
from collections import OrderedDict

import pytest
import torch

from modelyard.contract.reports import CheckpointReport
from modelyard.storage.errors import StorageError
from modelyard_trainer.saver import Saver, Snapshot
from modelyard_trainer.shards import copied


class Disk:
    """Takes its time until told, and fails when told."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.started = threading.Event()
        self.error: Exception | None = None
        self.committed: list[int] = []
        self.failures: list[str] = []
        self.saver = Saver(self.commit, lambda report: self.committed.append(report.step), self.failures.append, print)

    def commit(self, snapshot: Snapshot) -> CheckpointReport:
        self.started.set()
        assert self.free.wait(10)
        if self.error is not None:
            raise self.error
        return CheckpointReport(step=snapshot.step, uri="pvc://ckpt", digest=f"sha256:{'0' * 64}")

    def save(self, step: int) -> None:
        self.saver.save(Snapshot(step, {}, None, None))


def test_a_step_is_not_held_and_the_newest_takes_the_place_of_the_one_that_waits() -> None:
    disk = Disk()
    disk.save(1)
    assert disk.started.wait(10)
    disk.save(2)
    disk.save(3)
    disk.free.set()
    disk.saver.wait()
    assert disk.committed == [1, 3]


def test_storage_that_is_gone_is_told_and_the_next_checkpoint_tried() -> None:
    disk = Disk()
    disk.free.set()
    disk.error = StorageError("StorageUnreachable", "s3://b: no answer")
    disk.save(1)
    disk.saver.wait()
    disk.error = None
    disk.save(2)
    disk.saver.wait()
    assert (disk.committed, disk.failures) == ([2], ["s3://b: no answer"])


@pytest.mark.parametrize("error", [StorageError("StorageFull", "no space left"), ValueError("cannot be loaded")])
def test_what_would_only_repeat_is_raised_in_the_training(error: Exception) -> None:
    disk = Disk()
    disk.free.set()
    disk.error = error
    disk.save(1)
    with pytest.raises(type(error), match=str(error)):
        disk.saver.wait()


def test_a_copy_does_not_follow_the_original() -> None:
    weight = torch.ones(2, requires_grad=True)
    state = {"model": OrderedDict(weight=weight), "steps": [torch.zeros(1), 3], "pair": (torch.zeros(1), "a")}
    kept = copied(state)
    with torch.no_grad():
        weight.add_(1)
    assert isinstance(kept, dict)
    assert isinstance(kept["model"], OrderedDict)
    assert kept["model"]["weight"].tolist() == [1.0, 1.0]
    assert (kept["steps"][1], kept["pair"][1]) == (3, "a")
