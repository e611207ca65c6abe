"""Which weights could be cut at 16 bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from graphs import graph, node, normal
from modelyard_compressor.saturation import saturation_risk
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench


def product(rows: list[list[int]], *, transposed: bool = False) -> onnx.ModelProto:
    """A Gemm between quantized operands, with these weights for each output."""
    weights = np.array(rows, np.int8)
    return graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
            node("Gemm", ["xd", "wd"], ["y"], transB=int(transposed)),
        ],
        {
            "w": weights if transposed else weights.T,
            "s": np.array(0.1, np.float32),
            "z": np.array(0, np.uint8),
            "zw": np.array(0, np.int8),
        },
        ["batch", weights.shape[1]],
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("rows", "risk"),
    [
        ([[64, 64], [-64, -64]], 0.0),
        ([[65, 64], [-64, -64]], 0.5),
        ([[127, -127], [127, 2]], 0.5),
        ([[127, 1, 127, 127], [0, 0, 0, 0]], 0.25),
        ([[127, 127, 127], [-127, -127, 127]], 1.0),
    ],
)
def test_two_neighbours_of_one_sign_may_add_up_to_128(rows: list[list[int]], risk: float, *, transposed: bool) -> None:
    assert saturation_risk(product(rows, transposed=transposed)) == risk


def test_neighbours_of_a_convolution_are_its_channels() -> None:
    kernel = np.zeros((1, 2, 1, 2), np.int8)
    kernel[0, :, 0, 0] = 100
    nodes = [node("ConvInteger", ["x", "w"], ["i"]), node("Cast", ["i"], ["y"], to=onnx.TensorProto.FLOAT)]

    model = graph(nodes, {"w": kernel}, ["batch", 2, 4, 4], input_type=TensorProto.UINT8)

    assert saturation_risk(model) == 0.5


def test_seven_bits_are_safe_and_eight_are_not(tmp_path: Path) -> None:
    data = normal(16, 32, seed=1)
    model = graph([node("MatMul", ["x", "w"], ["y"], "product")], {"w": normal(32, 16)}, ["batch", 32])
    onnx.save(model, tmp_path / "float.onnx")
    workbench = Workbench(tmp_path / "float.onnx", tmp_path, {"x": data[:1]}, {"x": data}, 1, 1)

    risks = []
    for reduced in (True, False):
        trial = Trial(mode="Dynamic", activation="U8", per_channel=True, reduce_range=reduced)
        workbench.build(trial, tmp_path / "q.onnx")
        risks.append(saturation_risk(onnx.load(tmp_path / "q.onnx")))

    assert risks[0] == 0 < risks[1]


def test_a_float_model_has_no_risk() -> None:
    assert saturation_risk(graph([node("MatMul", ["x", "w"], ["y"])], {"w": normal(4, 4)}, ["batch", 4])) == 0
