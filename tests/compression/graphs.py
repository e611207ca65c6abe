"""Small ONNX graphs for tests, built from nodes and weights, and what they answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]
node = helper.make_node


def graph(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, npt.NDArray[np.generic]],
    shape: Sequence[str | int],
    output: str = "y",
    name: str = "x",
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with the input ``name`` of ``shape`` and one output of any shape; its nodes have names."""
    made = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, input_type, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(array), weight) for weight, array in weights.items()],
    )
    for number, each in enumerate(made.node):
        each.name = each.name or f"{each.op_type.lower()}{number}"
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model: onnx.ModelProto | Path, x: npt.NDArray[np.generic]) -> Array:
    """The model's first output."""
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    answer: Array = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )[0]
    return answer


def weight(model: onnx.ModelProto, name: str) -> Array:
    values: Array = numpy_helper.to_array(next(each for each in model.graph.initializer if each.name == name))
    return values


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def uneven(channels: int, spread: float = 100.0) -> Array:
    """Factors from 1 / spread to spread, in no order."""
    exponents = np.random.default_rng(5).permutation(np.linspace(-1, 1, channels))
    return (np.float32(spread) ** exponents).astype(np.float32)
