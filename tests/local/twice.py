"""The model ``twice``: ``y = x + x`` over rows of two."""

from pathlib import Path

from onnx import TensorProto, helper

from modelyard.contract.artifact import MODEL_FILE, Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.runs import ArtifactPlace
from modelyard.storage import artifacts


def published(folder: Path) -> ArtifactPlace:
    """Publish it below ``folder``."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    source = folder / "source"
    source.mkdir()
    (source / MODEL_FILE).write_bytes(model.SerializeToString())
    inputs, outputs = ([TensorSpec(name=name, datatype="FP32", shape=[-1, 2])] for name in ("x", "y"))
    lineage = Lineage(kind="TrainingJob", name="twice", namespace="test", spec_digest=digest_of_bytes(b""))
    manifest = artifacts.manifest_of(source, inputs, outputs, {}, {}, lineage)
    found = artifacts.publish(source, manifest, f"file://{folder / 'store'}")
    return ArtifactPlace(uri=found.uri, digest=found.digest)
