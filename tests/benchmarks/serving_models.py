"""The models of ``make bench-serving``: made here, with fixed weights; their cost grows from 10 us to 10 ms a row."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from modelyard.contract.artifact import MODEL_FILE, Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.storage import artifacts

OPSET, IR = 17, 8


@dataclass(frozen=True)
class BenchModel:
    """A model with one input ``x`` and one output ``y``, of FP32 rows."""

    name: str
    width: int
    """Numbers of a row of ``x``."""
    data: bytes
    """The ONNX file."""

    def publish(self, folder: Path) -> ServeRun:
        """Publish it in ``folder``; the run file of a server for it."""
        source = folder / "source"
        source.mkdir(parents=True)
        (source / MODEL_FILE).write_bytes(self.data)
        inputs, outputs = (
            [TensorSpec(name=name, datatype="FP32", shape=[-1, size])] for name, size in (("x", self.width), ("y", 10))
        )
        lineage = Lineage(kind="TrainingJob", name=self.name, namespace="bench", spec_digest=digest_of_bytes(b""))
        manifest = artifacts.manifest_of(source, inputs, outputs, {}, {}, lineage)
        found = artifacts.publish(source, manifest, f"file://{folder / 'store'}")
        return ServeRun(name=self.name, artifact=ArtifactPlace(uri=found.uri, digest=found.digest))


def perceptron(name: str, sizes: Sequence[int]) -> BenchModel:
    """Dense layers with ReLU between them."""
    source = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    weights = []
    at = "x"
    for number, (width, height) in enumerate(itertools.pairwise(sizes)):
        values = source.normal(0, width**-0.5, (width, height)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        last = number == len(sizes) - 2
        nodes.append(helper.make_node("MatMul", [at, f"w{number}"], ["y" if last else f"m{number}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"m{number}"], [f"r{number}"]))
            at = f"r{number}"
    return BenchModel(name, sizes[0], _onnx(nodes, sizes[0], weights))


def transformer(name: str, length: int, width: int, layers: int) -> BenchModel:
    """Self-attention and a feed-forward part, ``layers`` times, over ``length`` tokens of ``width`` numbers."""
    source = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(np.array([-1, length, width], np.int64), "tokens"),
        numpy_helper.from_array(np.array([-1, length * width], np.int64), "flat"),
        numpy_helper.from_array(np.array(width**-0.5, np.float32), "scale"),
    ]
    nodes = [helper.make_node("Reshape", ["x", "tokens"], ["t0"])]

    def dense(given: str, found: str, height: int, size: int = width) -> None:
        values = source.normal(0, size**-0.5, (size, height)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w_{found}"))
        nodes.append(helper.make_node("MatMul", [given, f"w_{found}"], [found]))

    for layer in range(layers):
        at = f"t{layer}"
        for part in "qkv":
            dense(at, f"{part}{layer}", width)
        nodes += [
            helper.make_node("Transpose", [f"k{layer}"], [f"kt{layer}"], perm=[0, 2, 1]),
            helper.make_node("MatMul", [f"q{layer}", f"kt{layer}"], [f"s{layer}"]),
            helper.make_node("Mul", [f"s{layer}", "scale"], [f"ss{layer}"]),
            helper.make_node("Softmax", [f"ss{layer}"], [f"p{layer}"], axis=-1),
            helper.make_node("MatMul", [f"p{layer}", f"v{layer}"], [f"a{layer}"]),
            helper.make_node("Add", [at, f"a{layer}"], [f"n{layer}"]),
        ]
        dense(f"n{layer}", f"f{layer}", 2 * width)
        nodes.append(helper.make_node("Relu", [f"f{layer}"], [f"g{layer}"]))
        dense(f"g{layer}", f"h{layer}", width, 2 * width)
        nodes.append(helper.make_node("Add", [f"n{layer}", f"h{layer}"], [f"t{layer + 1}"]))
    nodes.append(helper.make_node("Reshape", [f"t{layers}", "flat"], ["out"]))
    dense("out", "y", 10, length * width)
    return BenchModel(name, length * width, _onnx(nodes, length * width, weights))


def colours(name: str, side: int) -> BenchModel:
    """A dense layer over the mean of each colour: next to nothing to compute for a body as large as an image."""
    weights = [
        numpy_helper.from_array(np.array([-1, 3, side, side], np.int64), "image"),
        numpy_helper.from_array(np.array([-1, 3], np.int64), "flat"),
        numpy_helper.from_array(np.random.default_rng(0).normal(0, 1, (3, 10)).astype(np.float32), "w"),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "image"], ["pixels"]),
        helper.make_node("GlobalAveragePool", ["pixels"], ["means"]),
        helper.make_node("Reshape", ["means", "flat"], ["colours"]),
        helper.make_node("MatMul", ["colours", "w"], ["y"]),
    ]
    width = 3 * side * side
    return BenchModel(name, width, _onnx(nodes, width, weights))


def _onnx(nodes: Sequence[NodeProto], width: int, weights: Sequence[TensorProto]) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 10])],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    data: bytes = model.SerializeToString()
    return data


def models() -> Mapping[str, BenchModel]:
    """By name, which says what a row costs on one core of about 3 GHz, or how large it is."""
    found = (
        perceptron("tiny", [32, 64, 10]),
        perceptron("1ms", [1024, 2048, 2048, 1024, 10]),
        perceptron("10ms", [1024, 6144, 6144, 1024, 10]),
        transformer("transformer", 32, 64, 2),
        colours("600kb", 224),
    )
    return {each.name: each for each in found}
