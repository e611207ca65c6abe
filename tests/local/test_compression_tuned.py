"""A model is pruned and distilled by the trainer, then quantized: one job, on this machine."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from laptops import Laptop, Object, claim, code, training
from modelyard.contract.artifact import Manifest

SCRIPT = """
import numpy as np
import torch
from torch import nn
import modelyard_trainer

class Net(nn.Sequential):
    def __init__(self):
        def layer(inside, outside):
            return nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()
        super().__init__(
            *layer(1, 32), *layer(32, 64), nn.MaxPool2d(2), *layer(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, 10),
        )

if __name__ == "__main__":
    from sklearn.datasets import load_digits
    with modelyard_trainer.run() as run:
        torch.manual_seed(0)
        digits = load_digits()
        x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
        y = torch.tensor(digits.target)
        model, steps = Net(), 120
        optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
        for step in range(steps):
            rows = torch.randint(1200, (64,))
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        run.save(
            model, example_inputs=x[:2], evaluation=(x[1200:], y[1200:]), calibration=x[:128], input_names=["image"],
        )
"""


def compression(name: str = "small", **spec: Any) -> Object:
    """A job that prunes half of the channels, distils, and quantizes one way."""
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "CompressionJob",
        "metadata": {"name": name},
        "spec": {
            "source": {"trainingJob": {"name": "toy"}},
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py", "model": "Net"},
            "data": {"training": {"uri": "pvc://models/train.npz"}},
            "recipe": [
                {"prune": {"ratio": ["0.5"], "finetuneEpochs": 12, "learningRate": "0.004"}},
                {"distil": {"features": "100"}},
                {"optimise": {}},
                {"quantize": {"perChannel": [True], "rangeRepair": [False]}},
            ],
            "output": {"uri": f"pvc://models/{name}"},
            **spec,
        },
    }


@pytest.fixture(scope="module")
def trained(module_laptop: Laptop) -> Laptop:
    """A laptop on which the model is trained and its training data lie on the claim."""
    laptop = module_laptop
    digits = load_digits()
    folder = laptop.state / "volumes" / "models"
    folder.mkdir(parents=True)
    images = (digits.images[:1200, None] / 16).astype(np.float32)
    np.savez(folder / "train.npz", allow_pickle=False, image=images, labels=digits.target[:1200])
    result = laptop("run", laptop.file(claim(), code(SCRIPT), training()), "--keep")
    assert result.code == 0, result.out + result.err
    return laptop


def manifest(laptop: Laptop, artifact: Object) -> Manifest:
    folder = artifact["uri"].replace("pvc:/", str(laptop.state / "volumes"))
    return Manifest.model_validate_json((Path(folder) / "manifest.json").read_bytes())


def first_pod(laptop: Laptop) -> set[int]:
    """The processes of one of the two pods that tune."""
    return {
        pid
        for pid, environment in laptop.processes().items()
        if Path(environment["MODELYARD_ROOT"]).parent.name == "default.small-tune-0"
    }


def test_a_tuning_that_loses_a_pod_begins_again_and_its_int8_model_holds_the_gates(trained: Laptop) -> None:
    gates = {"maxAccuracyDrop": "0.03", "maxSizeBytes": 40_000}
    running = trained.start(
        "run", trained.file(compression(gates=gates, tuning={"nodes": 2}), name="small.yaml"), "--keep"
    )
    trained.until(lambda: trained.status("cjob/small").get("progress", {}).get("step", 0) > 5)
    for pid in first_pod(trained):
        with suppress(ProcessLookupError):  # those whose parent was killed end by themselves
            os.kill(pid, signal.SIGKILL)
    result = trained.finish(running)

    assert result.code == 0, result.out + result.err
    logs = trained("logs", "cjob/small").out
    assert all(f"[{pod}] " in logs for pod in ("small-tune-0-1", "small-tune-1-1"))
    status = trained.status("cjob/small")
    (tuned,) = status["tuned"]
    assert tuned["name"] == "pruned-0.5"
    assert status["selected"]["trial"].startswith("pruned-0.5-static-")
    assert {gate["name"]: gate["passed"] for gate in status["gates"]} == {
        "maxAccuracyDrop": True,
        "maxSizeBytes": True,
    }
    assert status["trials"] == {"measured": 2, "infeasible": 0, "skipped": 0}
    chain = manifest(trained, status["artifact"]), manifest(trained, tuned)
    assert [each.lineage.parent for each in chain] == [tuned["digest"], status["source"]["digest"]]


def test_an_entrypoint_that_gives_no_model_ends_the_job_with_the_names_there_are(trained: Laptop) -> None:
    job = compression("misnamed", entrypoint={"script": "train.py", "model": "Nett"})
    result = trained("run", trained.file(job, name="misnamed.yaml"), "--keep")

    assert result.code != 0
    failed = trained.condition("cjob/misnamed", "Failed")
    assert failed["reason"] == "ModelNotFound"
    assert failed["message"] == (
        "tuning: rank 0: spec.entrypoint.model: train.py has no function or class Nett; it has: Net; "
        "name the one that gives the nn.Module"
    )
