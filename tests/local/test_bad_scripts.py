"""Training scripts with mistakes: the status says which rank, what, and the remedy."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptops import Laptop, claim, code, training

RAISES = """
import torch
import modelyard_trainer

with modelyard_trainer.run() as run:
    if run.rank == 1:
        raise ValueError("no such column: [/price]")
    torch.distributed.barrier()
"""

SAVES_NOTHING = """
import modelyard_trainer

with modelyard_trainer.run() as run:
    run.report(step=1, total_steps=1)
"""

UNEXPORTABLE = """
import torch
import modelyard_trainer


class Unexportable(torch.nn.Module):
    def forward(self, x):
        return x + 1 if float(x.sum()) > 0 else x - 1


with modelyard_trainer.run() as run:
    run.save(Unexportable(), example_inputs=torch.rand(2, 4))
"""

SAVES = """
import torch
import modelyard_trainer

with modelyard_trainer.run() as run:
    run.save(torch.nn.Linear(256, 256), example_inputs=torch.rand(2, 256), metrics={"loss": 0.5})
"""


def failure(laptop: Laptop) -> tuple[str, str]:
    """Reason and message of the failed training."""
    condition = laptop.condition("tjob/toy", "Failed")
    return condition["reason"], condition["message"]


def test_a_script_that_raises_names_the_first_failing_rank_and_its_error(laptop: Laptop) -> None:
    result = laptop("run", laptop.file(claim(), code(RAISES), training(nodes=2)))
    reason, message = failure(laptop)
    assert (result.code, reason) == (1, "ProcessError")
    assert message.startswith("rank 1: ValueError: no such column: [/price]")
    assert "train.py" in message
    assert "no such column: [/price]" in result.out
    assert "[/price]" in laptop("get", "tjob", "-o", "wide").out


def test_a_script_that_saves_nothing_fails_with_the_remedy(laptop: Laptop) -> None:
    assert laptop("run", laptop.file(claim(), code(SAVES_NOTHING), training())).code == 1
    reason, message = failure(laptop)
    assert reason == "NothingSaved"
    assert "run.save" in message


def test_a_model_that_cannot_be_exported_fails_at_once(laptop: Laptop) -> None:
    job = training(restart={"maxRestarts": 3})
    assert laptop("run", laptop.file(claim(), code(UNEXPORTABLE), job)).code == 1
    assert failure(laptop)[0] == "ExportFailed"
    assert laptop.status("tjob/toy")["restarts"]["counted"] == 0


def test_a_missing_script_is_named_with_the_files_that_are_there(laptop: Laptop) -> None:
    job = training(entrypoint={"script": "trian.py"})
    assert laptop("run", laptop.file(claim(), code(SAVES), job)).code == 1
    reason, message = failure(laptop)
    assert reason == "ScriptNotFound"
    assert "train.py" in message


def test_a_gate_that_is_not_met_hands_nothing_on(laptop: Laptop) -> None:
    job = training(gates=[{"metric": "loss", "op": "LessOrEqual", "value": "0.1"}])
    assert laptop("run", laptop.file(claim(), code(SAVES), job)).code == 1
    assert failure(laptop) == ("GateNotMet", "gate loss: 0.5 observed, at most 0.1 asked for")


@pytest.fixture
def small_disk(laptop: Laptop) -> Iterator[Path]:
    """The volume of the claim ``models``, with room for 64 KiB."""
    volume = laptop.state / "volumes/models"
    volume.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", volume], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield volume
    subprocess.run(["umount", volume], check=True)
    shutil.rmtree(volume)


def test_a_full_disk_leaves_nothing_half_written(laptop: Laptop, small_disk: Path) -> None:
    result = laptop("run", laptop.file(claim(), code(SAVES), training()))
    reason, message = failure(laptop)
    assert (result.code, reason) == (1, "StorageFull")
    assert "free space" in message
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
