"""Weights in 4 and in 16 bits, and biases folded before any of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphs import Array, answers, graph, node, normal
from modelyard_compressor.executed import execute
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.folding import fold_biases
from modelyard_compressor.half import store_in_half
from modelyard_compressor.shapes import infer_shapes
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench, name_nodes

VECTORS = normal(8, 128, seed=7)


def dense_net(*, scale: float = 1.0) -> onnx.ModelProto:
    return graph(
        [
            node("MatMul", ["x", "w"], ["a"], "hidden"),
            node("Add", ["a", "b"], ["c"], "bias"),
            node("Relu", ["c"], ["d"], "relu"),
            node("Gemm", ["d", "head", "hb"], ["y"], "head", transB=1),
        ],
        {
            "w": normal(128, 256, scale=0.1 * scale),
            "b": normal(256, seed=1),
            "head": normal(10, 256, seed=2, scale=0.1),
            "hb": normal(10, seed=3),
        },
        ["batch", 128],
    )


def built(mode: str, folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "float.onnx")
    workbench = Workbench(folder / "float.onnx", folder, {"x": VECTORS[:1]}, None, 1, 1)
    workbench.build(Trial.model_validate({"mode": mode}), folder / "small.onnx")
    return folder / "small.onnx"


def error(model: onnx.ModelProto, small: Path) -> float:
    exact, rounded = answers(model, VECTORS), answers(small, VECTORS)
    return float(np.abs(exact - rounded).max() / np.abs(exact).max())


def test_half_the_bits_take_half_the_room_and_run_in_float(tmp_path: Path) -> None:
    model = dense_net()

    small = built("Float16", tmp_path, model)

    assert small.stat().st_size < 0.55 * (tmp_path / "float.onnx").stat().st_size
    assert error(model, small) < 1e-3
    assert {name.rpartition("(")[2] for name in execute(small, {"x": VECTORS[:1]}, tmp_path).float_operators} <= {
        "MatMul)",
        "Gemm)",
        "FusedGemm)",
    }


def test_a_weight_beyond_the_range_of_16_bits_stays() -> None:
    model = dense_net(scale=1e7)

    assert store_in_half(model) == 2
    assert {tensor.data_type for tensor in model.graph.initializer if tensor.name == "w"} == {onnx.TensorProto.FLOAT}


def test_four_bits_take_a_fifth_of_the_room(tmp_path: Path) -> None:
    model = dense_net()

    small = built("Int4", tmp_path, model)

    assert small.stat().st_size < 0.22 * (tmp_path / "float.onnx").stat().st_size
    assert error(model, small) < 0.2
    assert execute(small, {"x": VECTORS[:1]}, tmp_path).int8_mac_share == 1.0


def test_four_bits_of_a_net_without_products_are_refused(tmp_path: Path) -> None:
    model = graph([node("Relu", ["x"], ["y"], "relu")], {}, ["batch", 128])

    with pytest.raises(CompressionError, match="left every operator in float"):
        built("Int4", tmp_path, model)


def folded(model: onnx.ModelProto, x: Array = VECTORS) -> int:
    before = answers(model, x)
    count = fold_biases(model, infer_shapes(model, {}))
    np.testing.assert_allclose(answers(model, x), before, rtol=1e-4, atol=1e-4)
    return count


def test_a_bias_behind_a_product_becomes_that_of_a_gemm() -> None:
    model = dense_net()

    assert folded(model) == 1
    assert [each.op_type for each in model.graph.node] == ["Gemm", "Relu", "Gemm"]
    assert list(model.graph.node[0].input) == ["x", "w", "b"]


def test_a_product_of_rank_3_keeps_its_add() -> None:
    model = graph(
        [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])],
        {"w": normal(8, 4), "b": normal(4)},
        ["batch", 5, 8],
    )

    assert folded(model, normal(2, 5, 8)) == 0


def test_a_product_that_others_take_too_keeps_its_add() -> None:
    model = graph(
        [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["c"]), node("Mul", ["a", "c"], ["y"])],
        {"w": normal(128, 4), "b": normal(4)},
        ["batch", 128],
    )

    assert folded(model) == 0


def test_nodes_without_a_name_of_their_own_get_one() -> None:
    model = dense_net()
    for each, name in zip(model.graph.node, ["", "same", "same", "Add_0"], strict=True):
        each.name = name

    name_nodes(model)

    names = [each.name for each in model.graph.node]
    assert len(set(names)) == 4
    assert names[1] == "same"
