"""The share of multiply-accumulates in int8."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard_compressor.macs import int8_share


def model(
    nodes: list[onnx.NodeProto], shape: list[str | int], weights: dict[str, tuple[tuple[int, ...], type[np.generic]]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, dtype), name) for name, (shape, dtype) in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def quantized(tensor: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [tensor, "scale", "zero"], [f"{tensor}.q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}.q", "scale", "zero"], [f"{tensor}.dq"]),
    ]


def test_an_operator_between_dequantized_operands_counts_as_int8() -> None:
    nodes = [
        *quantized("x"),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero.w"], ["w.dq"]),
        helper.make_node("Conv", ["x.dq", "w.dq"], ["mapped"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["mapped"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["y"]),
    ]
    weights: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "w": ((4, 3, 3, 3), np.int8),
        "v": ((4 * 8 * 8, 10), np.float32),
        "scale": ((), np.float32),
        "zero": ((), np.uint8),
        "zero.w": ((), np.int8),
    }

    share = int8_share(model(nodes, ["batch", 3, 8, 8], weights), {"x": (1, 3, 8, 8)})

    conv, matmul = 4 * 8 * 8 * 3 * 3 * 3, 4 * 8 * 8 * 10
    assert share == pytest.approx(conv / (conv + matmul))


def test_a_weight_alone_in_int8_is_float_work() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["w.dq"]),
        helper.make_node("Gemm", ["x", "w.dq"], ["y"]),
    ]
    weights: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "w": ((8, 4), np.int8),
        "scale": ((), np.float32),
        "zero": ((), np.int8),
    }

    assert int8_share(model(nodes, ["batch", 8], weights), {"x": (1, 8)}) == 0


def test_a_recurrent_layer_counts_each_weight_at_each_step() -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["all", "last"], hidden_size=5),
        helper.make_node("DynamicQuantizeLinear", ["last"], ["last.q", "s", "z"]),
        helper.make_node("MatMulInteger", ["last.q", "v"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    weights: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "w": ((1, 20, 3), np.float32),
        "r": ((1, 20, 5), np.float32),
        "v": ((5, 2), np.uint8),
    }

    share = int8_share(model(nodes, [7, "batch", 3], weights), {"x": (7, 1, 3)})

    assert share == pytest.approx(10 / (10 + 7 * (20 * 3 + 20 * 5)))


def test_without_such_operators_nothing_is_int8() -> None:
    assert int8_share(model([helper.make_node("Relu", ["x"], ["y"])], ["batch", 8], {}), {"x": (1, 8)}) == 0
