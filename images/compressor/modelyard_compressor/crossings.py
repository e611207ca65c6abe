"""What becomes of a scale on a tensor's channels at one node? It is absorbed by weights, passes, or cannot cross."""

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx

from modelyard_compressor.shapes import Shapes
from modelyard_compressor.wiring import Wiring, attribute


@dataclass(frozen=True)
class Side:
    """A tensor whose channels are those of a weight's axis."""

    tensor: str
    weight: str
    axis: int
    repeats: int = 1
    bias: bool = False
    depthwise: bool = False


@dataclass(frozen=True)
class Crossing:
    """What a node does; a tensor that it takes or makes and that is not named here keeps its scale."""

    makes: list[Side] = field(default_factory=list)
    """Its output's channels come from these weights."""
    takes: list[Side] = field(default_factory=list)
    """Its input's channels meet these weights."""
    ties: list[tuple[str, str]] = field(default_factory=list)
    """Tensors with the same channels at the same scale."""
    along: int | None = None
    """The tensors' axis that must hold the channels; None where any will do."""


_NOTHING = Crossing()
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_HOMOGENEOUS = _POOLS | {"Relu", "LeakyRelu", "Identity"}
"""f(s x) = s f(x) for s > 0, and channels stay apart."""


def crossing(node: onnx.NodeProto, wiring: Wiring, shapes: Shapes) -> Crossing:
    """The crossing of channels at ``node``: axis 1 for convolutions, the last axis for matrix products."""
    if node.op_type in _HOMOGENEOUS and len(node.output) == 1:
        return Crossing(ties=[(node.input[0], node.output[0])], along=1 if node.op_type in _POOLS else None)
    rule = _RULES.get(node.op_type)
    return rule(node, wiring, shapes) if rule is not None and node.domain in ("", "ai.onnx") else _NOTHING


def _convolution(node: onnx.NodeProto, wiring: Wiring, _shapes: Shapes) -> Crossing:
    kernel = wiring.own_weight(node.input[1])
    if kernel is None:
        return _NOTHING
    x, y, name = node.input[0], node.output[0], node.input[1]
    if not _bias_is_own(node, wiring):
        return _NOTHING
    group = attribute(node, "group", 1)
    depthwise = group > 1 and kernel.shape[1] == 1 and kernel.shape[0] == group
    makes = [Side(y, name, 0, depthwise=depthwise), *_bias(node, y)]
    if depthwise:
        return Crossing(makes, [Side(x, name, 0, depthwise=True)], along=1)
    return Crossing(makes, [Side(x, name, 1)] if group == 1 else [], along=1)


def _gemm(node: onnx.NodeProto, wiring: Wiring, shapes: Shapes) -> Crossing:
    if wiring.own_weight(node.input[1]) is None or attribute(node, "transA", 0) or not _bias_is_own(node, wiring):
        return _NOTHING
    rows, columns = (1, 0) if attribute(node, "transB", 0) else (0, 1)
    name = node.input[1]
    taken = Side(node.input[0], name, rows, _flattened(node.input[0], wiring, shapes))
    return Crossing([Side(node.output[0], name, columns), *_bias(node, node.output[0])], [taken], along=1)


def _product(node: onnx.NodeProto, wiring: Wiring, shapes: Shapes) -> Crossing:
    matrix = wiring.own_weight(node.input[1])
    x, name, y = node.input[0], node.input[1], node.output[0]
    if matrix is None or matrix.ndim != 2 or x not in shapes:
        return _NOTHING
    taken = Side(x, name, 0, _flattened(x, wiring, shapes))
    return Crossing([Side(y, name, 1)], [taken], along=len(shapes[x]) - 1)


def _flatten(node: onnx.NodeProto, _wiring: Wiring, shapes: Shapes) -> Crossing:
    if attribute(node, "axis", 1) != 1 or len(shapes.get(node.input[0], ())) < 2:
        return _NOTHING
    return Crossing(ties=[(node.input[0], node.output[0])], along=1)


def _sum(node: onnx.NodeProto, wiring: Wiring, shapes: Shapes) -> Crossing:
    weights = [name for name in node.input if wiring.is_weight(name)]
    tensors = [name for name in node.input if name not in weights]
    y = node.output[0]
    if not weights:
        same = len({shapes.get(name) for name in (*tensors, y)}) == 1 and tensors[0] in shapes
        return Crossing(ties=[(y, name) for name in tensors]) if same else _NOTHING
    values = wiring.own_weight(weights[0])
    after_product = len(tensors) == 1 and wiring.producer.get(tensors[0], node).op_type == "MatMul"
    # One number a channel, behind a product whose channels are last: its bias.
    if values is None or not after_product or values.ndim != 1 or values.shape != shapes.get(y, ())[-1:]:
        return _NOTHING
    return Crossing([Side(y, weights[0], 0, bias=True)], ties=[(tensors[0], y)], along=len(shapes[y]) - 1)


def _normalisation(node: onnx.NodeProto, wiring: Wiring, shapes: Shapes) -> Crossing:
    rank = len(shapes.get(node.input[0], ()))
    channels = 1 if node.op_type == "BatchNormalization" else rank - 1
    of_layers = node.op_type == "LayerNormalization"
    if rank < 2 or len(node.output) > 1 or (of_layers and attribute(node, "axis", -1) not in (-1, channels)):
        return _NOTHING
    names = [name for name in node.input[1:3] if name]
    if len(names) == 0 or any(wiring.own_weight(name) is None for name in names):
        return _NOTHING
    y = node.output[0]
    makes = [Side(y, names[0], 0), *(Side(y, name, 0, bias=True) for name in names[1:])]
    return Crossing(makes, along=channels)


def _bias(node: onnx.NodeProto, y: str) -> list[Side]:
    return [Side(y, node.input[2], 0, bias=True)] if len(node.input) > 2 and node.input[2] else []


def _bias_is_own(node: onnx.NodeProto, wiring: Wiring) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return True
    bias = wiring.own_weight(node.input[2])
    return bias is not None and bias.ndim == 1 and bias.size > 1


def _flattened(name: str, wiring: Wiring, shapes: Shapes) -> int:
    """How many features of a matrix row belong to one channel, since a Flatten laid them behind each other."""
    node = wiring.producer.get(name)
    while node is not None and node.op_type in _HOMOGENEOUS:
        node = wiring.producer.get(node.input[0])
    if node is None or node.op_type != "Flatten":
        return 1
    spatial = 1
    for size in shapes.get(node.input[0], (1, 1))[2:]:
        spatial *= size
    return spatial


_RULES: dict[str, Callable[[onnx.NodeProto, Wiring, Shapes], Crossing]] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _product,
    "Flatten": _flatten,
    "Add": _sum,
    "LayerNormalization": _normalisation,
    "BatchNormalization": _normalisation,
}
