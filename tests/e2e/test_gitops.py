"""What tools that apply and wait see of the three kinds: ``helm install --wait``, which judges by kstatus."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from charts import Helm
from installed import Kubectl, Place, place
from operators import Object

TRAIN = """
import torch
import modelyard_trainer

if {fails}:
    raise ValueError("the data set is empty")
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(512, 64, generator=generator)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 8))
with modelyard_trainer.run() as run:
    labels = model(inputs).argmax(dim=1)
    run.save(model, example_inputs=inputs[:2], evaluation=(inputs[256:], labels[256:]), calibration=inputs[:256])
"""
CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "models"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def ours(kind: str, name: str, **spec: object) -> Object:
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def chart(folder: Path, *, fails: bool) -> Path:
    """A chart of a team that trains, compresses and serves."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "team", "version": "1.0.0"}))
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
    objects = [
        CLAIM,
        {**code, "data": {"train.py": TRAIN.replace("{fails}", str(fails))}},
        ours(
            "TrainingJob", "net",
            code={"configMap": {"name": "code"}}, entrypoint={"script": "train.py"},
            output={"uri": "pvc://models/net"}, restart={"maxRestarts": 0},
        ),
        ours(
            "CompressionJob", "net-int8",
            source={"trainingJob": {"name": "net"}}, recipe=[{"optimise": {}}, {"quantize": {}}],
            output={"uri": "pvc://models/net-int8"},
        ),
        ours("ModelService", "net", model={"compressionJob": {"name": "net-int8"}}),
    ]  # fmt: skip
    (folder / "templates/all.yaml").write_text(yaml.safe_dump_all(objects))
    return folder


@pytest.fixture
def team(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[Place]:
    with place(client, kubectl, "team") as team:
        yield team


def test_helm_waits_for_all_three(team: Place, helm: Helm, tmp_path: Path) -> None:
    done = helm.attempt(
        "install", "team", str(chart(tmp_path / "team", fails=False)), "-n", team.namespace, "--wait", "--timeout", "5m"
    )
    names = {"trainingjobs": "net", "compressionjobs": "net-int8", "modelservices": "net"}
    states = [team.cluster.status(plural, name).get("state") for plural, name in names.items()]
    assert (done.returncode, states) == (0, ["Complete", "Complete", "Ready"]), done.stderr


def test_helm_fails_soon_after_a_job_has(team: Place, helm: Helm, tmp_path: Path) -> None:
    began = time.monotonic()
    done = helm.attempt(
        "install", "team", str(chart(tmp_path / "team", fails=True)), "-n", team.namespace, "--wait", "--timeout", "5m"
    )
    failed = team.cluster.condition("trainingjobs", "net", "Failed")
    assert done.returncode != 0
    assert failed["status"] == "True", team.story("trainingjobs", "net")
    assert "the data set is empty" in failed["message"]
    assert time.monotonic() - began < 150, "it did not wait for its own timeout"
