"""Trained networks, compressed by the process cluster with the default recipe."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from laptops import Laptop, Object
from modelyard.contract.artifact import Lineage, TensorSpec
from modelyard.contract.digest import digest_of_json
from modelyard.storage.artifacts import manifest_of, publish
from training import NETS, trained

LARGEST_DROP = {
    "residual": "0.002", "uneven": "0.005", "depthwise": "0.003", "lstm": "0.001", "transformer": "0.003",
    "encoder": "0.003",
}  # fmt: skip
LEAST_SHARE = {"residual": 0.95, "uneven": 0.95, "depthwise": 0.9, "lstm": 0.9, "transformer": 0.6, "encoder": 0.6}


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    made = Laptop(tmp_path)
    yield made
    made("stop")


def source(name: str, folder: Path) -> tuple[str, str]:
    """The network as a published artefact: its URI and digest."""
    trained_in = trained(name)
    copy = folder / "source"
    copy.mkdir()
    for file in ("model.onnx", "calibration.npz", "eval.npz"):
        (copy / file).write_bytes((trained_in / file).read_bytes())
    graph = onnx.load(copy / "model.onnx").graph
    integers = graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    lineage = Lineage(kind="TrainingJob", name=name, namespace="default", spec_digest=digest_of_json([]))
    signature = [TensorSpec(name="x", datatype="INT64" if integers else "FP32", shape=[-1])]
    answer = [TensorSpec(name="y", datatype="FP32", shape=[-1])]
    published = publish(copy, manifest_of(copy, signature, answer, {}, {}, lineage), f"file://{folder}/models")
    return published.uri, published.digest


def job(name: str, folder: Path) -> Object:
    uri, digest = source(name, folder)
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "CompressionJob",
        "metadata": {"name": name},
        "spec": {
            "source": {"artifact": {"uri": uri, "digest": digest}},
            "metric": {"name": NETS[name].metric},
            "target": {"resources": {"limits": {"cpu": "1"}}},
            "gates": {"maxAccuracyDrop": LARGEST_DROP[name]},
            "output": {"uri": f"file://{folder}/out"},
        },
    }


@pytest.mark.parametrize("name", list(NETS))
def test_a_network_keeps_its_accuracy_in_integers(name: str, laptop: Laptop) -> None:
    result = laptop("run", laptop.file(job(name, laptop.folder)))

    assert result.code == 0, result.out + result.err
    status = laptop.status(f"cjob/{name}")
    assert status["state"] == "Complete"
    assert float(status["selected"]["int8MacShare"]) >= LEAST_SHARE[name]
    assert status["selected"]["sizeBytes"] < status["baseline"]["sizeBytes"] / 2
    assert 1 <= len(status["pareto"]) <= status["trials"]["measured"]
