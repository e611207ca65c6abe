"""Which weights must change together for the channels of some tensors to be rescaled, the function staying the same?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from modelyard_compressor.crossings import Crossing, crossing
from modelyard_compressor.shapes import Shapes
from modelyard_compressor.wiring import Array, Wiring


@dataclass(frozen=True)
class Slot:
    """Where a group's channels lie in one weight."""

    weight: str
    axis: int
    repeats: int = 1
    """Consecutive places on the axis that belong to one channel: more than one behind a Flatten."""
    bias: bool = False
    """Whether the weight is added to the channels, so that its values say nothing of their range."""
    depthwise: bool = False
    """Whether each channel has a row of its own, so that no other channel shares its scale."""

    def ranges(self, values: Array) -> Array:
        """The largest magnitude of each channel."""
        largest: Array = np.abs(self._rows(values)).max(axis=1)
        return largest

    def scaled(self, values: Array, scales: Array) -> Array:
        """``values`` with each channel times its scale."""
        shape = [1] * values.ndim
        shape[self.axis] = values.shape[self.axis]
        scaled: Array = values * np.repeat(scales, self.repeats).reshape(shape)
        return scaled

    def _rows(self, values: Array) -> Array:
        moved = np.moveaxis(values, self.axis, 0)
        return moved.reshape(moved.shape[0] // self.repeats, -1)


@dataclass
class Group:
    """Tensors whose channels share one scale, and the weights that make and take them."""

    channels: int
    tensors: list[str] = field(default_factory=list)
    makers: list[Slot] = field(default_factory=list)
    """Weights to multiply by the scale."""
    takers: list[Slot] = field(default_factory=list)
    """Weights to divide by it."""


def groups(model: onnx.ModelProto, shapes: Shapes) -> list[Group]:
    """The groups that can be rescaled, in graph order: made and taken by weights alone, never seen from outside.

    A tensor that any other operator takes or makes keeps its scale, and so does every tensor tied to it, for example
    by the Add of a residual connection. ``shapes`` are those of ``infer_shapes``.
    """
    wiring = Wiring(model)
    crossings = [crossing(node, wiring, shapes) for node in wiring.nodes]
    ties = _Ties()
    fixed = {value.name for value in model.graph.input} | wiring.outputs | wiring.hidden
    for node, found in zip(wiring.nodes, crossings, strict=True):
        fixed |= set(_fixed(node, found, wiring))
        for first, second in found.ties:
            ties.tie(first, second)
    fixed_roots = {ties.root(name) for name in fixed}
    built: dict[str, Group] = {}
    unfit = {ties.root(name) for name in _at_odds(crossings, ties)}
    for found in crossings:
        for tensor, slot, makes in _slots(found):
            root = ties.root(tensor)
            values = wiring.own_weight(slot.weight)
            count = values.shape[slot.axis] // slot.repeats if values is not None else 0
            group = built.setdefault(root, Group(count))
            if root in fixed_roots or count == 0 or group.channels != count:
                unfit.add(root)
            (group.makers if makes else group.takers).append(slot)
    for name in ties.names():
        if ties.root(name) in built:
            built[ties.root(name)].tensors.append(name)
    return [group for root, group in built.items() if root not in unfit and _has_both(group)]


def _slots(found: Crossing) -> Iterator[tuple[str, Slot, bool]]:
    for made in found.makes:
        yield made.tensor, Slot(made.weight, made.axis, bias=made.bias, depthwise=made.depthwise), True
    for taken in found.takes:
        yield taken.tensor, Slot(taken.weight, taken.axis, taken.repeats, depthwise=taken.depthwise), False


def _at_odds(crossings: Sequence[Crossing], ties: "_Ties") -> Iterator[str]:
    """Tensors whose channels two nodes look for on different axes."""
    axes: dict[str, int] = {}
    for found in crossings:
        names = [*(name for tie in found.ties for name in tie), *(side.tensor for side in (*found.makes, *found.takes))]
        for name in names:
            if found.along is not None and axes.setdefault(ties.root(name), found.along) != found.along:
                yield name


def _fixed(node: onnx.NodeProto, found: Crossing, wiring: Wiring) -> Sequence[str]:
    free = {name for tie in found.ties for name in tie} | {each.tensor for each in (*found.makes, *found.takes)}
    return [name for name in (*node.input, *node.output) if name and not wiring.is_weight(name) and name not in free]


def _has_both(group: Group) -> bool:
    return any(not slot.bias for slot in group.makers) and bool(group.takers)


class _Ties:
    """Union-find over tensor names; the first of a set, in order of appearance, stands for it."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        while parent != name:
            name, parent = parent, self._parent[parent]
        return name

    def tie(self, first: str, second: str) -> None:
        self._parent[self.root(second)] = self.root(first)

    def names(self) -> list[str]:
        return list(self._parent)
