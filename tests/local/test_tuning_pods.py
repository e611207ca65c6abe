"""Pods of two ranks that prune and factorise what an earlier pod has published."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from modelyard.contract.artifact import ArtifactReference, artifact_uri
from modelyard.contract.reports import EXIT_FINAL
from modelyard.contract.runs import (
    TRAINING_INPUT,
    ArtifactPlace,
    DistilRun,
    FinetuneRun,
    InputRun,
    PruneRun,
    TuneRun,
    VariantRun,
)
from modelyard.storage.artifacts import open_artifact
from pods import LINEAGE, Attempts, Pod

SCRIPT = """
import torch
from torch import nn
import modelyard_trainer

class Net(nn.Sequential):
    def __init__(self, width=64):
        super().__init__(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

def wide():
    return Net(80)

if __name__ == "__main__":
    with modelyard_trainer.run() as run:
        torch.manual_seed(0)
        x = torch.rand(64, 16)
        run.save(Net(), example_inputs=x[:2], evaluation=(x[:32], x[:32, 0].round().long()), input_names=["x"])
"""
VARIANTS = [VariantRun(name="pruned-0.5", ratio=0.5), VariantRun(name="pruned-0.5-lowrank-0.8", ratio=0.5, energy=0.8)]


@pytest.fixture
def source(attempts: Attempts, tmp_path: Path) -> ArtifactPlace:
    """The published model; its training data lie beside it."""
    random = np.random.default_rng(0)
    x = random.random((256, 16), np.float32)
    np.savez(tmp_path / "train.npz", allow_pickle=False, x=x, labels=(x.sum(axis=1) > 8).astype(np.int64))
    (pod,) = attempts.start(SCRIPT, nodes=1, checkpoint=None)
    artifact = pod.termination().artifact
    assert artifact is not None, pod.log
    return ArtifactPlace(uri=artifact.uri, digest=artifact.digest)


def tune(attempts: Attempts, source: ArtifactPlace, model: str = "Net") -> Pod:
    asked = TuneRun(
        script="train.py",
        model=model,
        source=source,
        variants=VARIANTS,
        prune=PruneRun(epochs=2, learning_rate=0.01, method="Taylor", round_to=8),
        low_rank=FinetuneRun(epochs=1, learning_rate=0.01),
        distil=DistilRun(temperature=4, alpha=0.7, features=10),
        seed=1,
    )
    (pod,) = attempts.start(
        SCRIPT,
        nodes=1,
        name=None,
        module="modelyard_trainer.tuning",
        checkpoint=None,
        inputs=[InputRun(name=TRAINING_INPUT, uri=f"file://{attempts.folder}/train.npz")],
        tune=asked,
        lineage=LINEAGE.model_copy(update={"parent": source.digest}),
    )
    return pod


def test_each_variant_has_the_signature_of_its_source_and_another_attempt_makes_the_same_bytes(
    attempts: Attempts, source: ArtifactPlace
) -> None:
    pod = tune(attempts, source)
    tuned = pod.termination().tuned
    assert tuned is not None, pod.log
    assert [each.name for each in tuned] == [each.name for each in VARIANTS]
    found = [
        open_artifact(
            ArtifactReference(uri=artifact_uri(f"file://{attempts.folder}/models", each.digest), digest=each.digest)
        )
        for each in tuned
    ]
    _, before = open_artifact(source)
    assert all((each.inputs, each.outputs) == (before.inputs, before.outputs) for _, each in found)
    assert all(each.lineage.parent == source.digest and each.file("eval.npz") for _, each in found)
    pruned, factorised = (each.metrics["parameters"] for _, each in found)
    assert pruned == 16 * 32 + 32 + 32 * 32 + 32 + 32 * 3 + 3
    assert factorised < pruned
    session = onnxruntime.InferenceSession(found[1][0] / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((5, 16), np.float32)})[0].shape == (5, 3)
    assert tune(attempts, source).termination().tuned == tuned


def test_a_class_that_the_weights_do_not_fit_is_refused_for_good(attempts: Attempts, source: ArtifactPlace) -> None:
    pod = tune(attempts, source, model="wide")
    said = pod.termination()
    assert (said.reason, pod.process.returncode) == ("WeightsMismatch", EXIT_FINAL)
    assert "spec.entrypoint.model: wide in train.py is not the module that the source was made of: " in said.message
    assert "size mismatch for 0.weight" in said.message
