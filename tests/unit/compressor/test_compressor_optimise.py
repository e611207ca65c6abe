"""Preparing a float graph: what works, and that what does not is never passed over."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard_compressor.failures import CompressionError
from modelyard_compressor.optimise import optimise


def saved(path: Path, *nodes: onnx.NodeProto) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_every_tensor_gets_a_type_and_no_idle_domain_is_imported(tmp_path: Path) -> None:
    source = saved(
        tmp_path / "source.onnx",
        helper.make_node("MatMul", ["x", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["y"]),
    )

    optimise(source, tmp_path / "target.onnx")

    model = onnx.load(tmp_path / "target.onnx")
    assert [value.name for value in model.graph.value_info] == ["hidden"]
    assert [domain.domain for domain in model.opset_import] == [""]


def test_an_error_that_onnxruntime_only_logs_is_raised(tmp_path: Path) -> None:
    source = saved(tmp_path / "source.onnx", helper.make_node("NoSuchOperator", ["x", "w"], ["y"]))

    with pytest.raises(CompressionError, match=r"take `optimise` out of spec.recipe") as caught:
        optimise(source, tmp_path / "target.onnx")
    assert caught.value.reason == "OptimisationFailed"
