"""Two small networks whose answers on real digits are mostly right, and a root to compress them in."""

import logging
import signal
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract import layout

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def digits() -> Array:
    """1797 handwritten digits, shuffled: 64 pixels from 0 to 16, and the label."""
    # Read where scikit-learn keeps it: importing scikit-learn would take longer than most of these tests.
    table = next(file for file in distribution("scikit-learn").files or () if file.name == "digits.csv.gz")
    rows = np.loadtxt(str(table.locate()), delimiter=",", dtype=np.float32)
    return rows[np.random.default_rng(1).permutation(len(rows))]


@pytest.fixture(scope="session")
def images(digits: Array) -> Array:
    """Of shape (1, 8, 8), from 0 to 1."""
    return digits[:, :64].reshape(-1, 1, 8, 8) / np.float32(16)


@pytest.fixture(scope="session")
def labels(digits: Array) -> npt.NDArray[np.int64]:
    return digits[:, 64].astype(np.int64)


@pytest.fixture(scope="session")
def conv_net(images: Array, labels: npt.NDArray[np.int64]) -> onnx.ModelProto:
    """Three random convolutions, and a last layer fitted by ridge regression on samples 0 to 799."""
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    value = "image"
    for index, (channels_in, channels_out) in enumerate([(1, 32), (32, 64), (64, 64)]):
        shape = (channels_out, channels_in, 3, 3)
        weights[f"conv{index}.w"] = _he(random, shape, channels_in * 9)
        weights[f"conv{index}.b"] = random.normal(0, 0.1, channels_out).astype(np.float32)
        conv = helper.make_node(
            "Conv", [value, f"conv{index}.w", f"conv{index}.b"], [f"conv{index}.out"], f"conv{index}", pads=[1, 1, 1, 1]
        )
        relu = helper.make_node("Relu", [f"conv{index}.out"], [f"relu{index}.out"], f"relu{index}")
        nodes += [conv, relu]
        value = f"relu{index}.out"
    nodes.append(helper.make_node("MaxPool", [value], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], "flatten"))
    return _with_fitted_head(nodes, weights, ["batch", 1, 8, 8], images, labels)


@pytest.fixture(scope="session")
def dense_net(images: Array, labels: npt.NDArray[np.int64]) -> onnx.ModelProto:
    """One random dense layer, and a last one fitted by ridge regression on samples 0 to 799."""
    weights = {"hidden.w": _he(np.random.default_rng(0), (64, 256), 64)}
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "hidden.w"], ["hidden.out"], "hidden"),
        helper.make_node("Relu", ["hidden.out"], ["features"], "relu"),
    ]
    return _with_fitted_head(nodes, weights, ["batch", 1, 8, 8], images, labels)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A pod's root on this machine; what ``main`` changes in the process is put back."""
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("ORT_INTRA_OP_NUM_THREADS", "1")
    (tmp_path / layout.CONFIG).mkdir()
    handler, handlers, level = signal.getsignal(signal.SIGTERM), logging.root.handlers[:], logging.root.level
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.getLogger("modelyard_compressor").handlers.clear()


def _he(random: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Array:
    return random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)


def _with_fitted_head(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    shape: list[str | int],
    images: Array,
    labels: npt.NDArray[np.int64],
) -> onnx.ModelProto:
    body = _model(nodes, weights, shape, "features")
    features = onnxruntime.InferenceSession(body.SerializeToString()).run(None, {"image": images[:800]})[0]
    gram = features.T @ features + np.eye(features.shape[1], dtype=np.float32)
    head = np.linalg.solve(gram, features.T @ np.eye(10, dtype=np.float32)[labels[:800]])
    gemm = helper.make_node("Gemm", ["features", "head.w"], ["logits"], "head", transB=1)
    return _model([*nodes, gemm], {**weights, "head.w": head.T.astype(np.float32)}, shape, "logits")


def _model(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], shape: list[str | int], output: str
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", None])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
