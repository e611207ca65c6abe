"""Calibrate a net with large activations on so many samples, and print the most memory that took, in MiB."""
# ruff: noqa: T201

import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench

_SIDE = 64


def net() -> onnx.ModelProto:
    """Each sample has about 9 MiB of activations."""
    random = np.random.default_rng(0)
    nodes, weights, value, inside = [], [], "x", 1
    for index in range(4):
        weight = random.normal(0, (2 / (9 * inside)) ** 0.5, (64, inside, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [value, f"w{index}"], [f"a{index}"], f"conv{index}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"a{index}"], [f"b{index}"], f"relu{index}"))
        value, inside = f"b{index}", 64
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["y"], "pool"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 64, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def main(method: str, samples: int) -> None:
    images = np.random.default_rng(1).random((samples, 1, _SIDE, _SIDE), np.float32)
    trial = Trial.model_validate(
        {"mode": "Static", "activation": "U8", "reduceRange": True, "calibrationMethod": method, "rangeRepair": True}
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        onnx.save(net(), scratch / "float.onnx")
        bench = Workbench(scratch / "float.onnx", scratch, {"x": images[:1]}, {"x": images}, 1, 1)
        bench.build(trial, scratch / "quantized.onnx")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
