"""How are uneven channel ranges evened out? By scales that move from each tensor into the weights around it."""

from collections.abc import Mapping

import numpy as np
import onnx

from modelyard_compressor.channels import Group, Slot, groups
from modelyard_compressor.shapes import Shapes
from modelyard_compressor.wiring import Array, Wiring

_SWEEPS = 20
_SETTLED = 1e-3
"""Scales that change by less end the sweeps: a thousandth is far below a step of eight bits."""
_WIDEST = 2.0**16
"""No single scale goes further from 1, so that a nearly dead channel makes no weight overflow."""


def equalise(model: onnx.ModelProto, shapes: Shapes, activations: Mapping[str, Array] | None = None) -> int:
    """Rescale channels in ``model`` itself; returns how many groups of tensors changed. The function stays the same.

    With the largest magnitude of each channel of ``activations``, by tensor, a channel's scale balances its range
    against the weights that take it, as SmoothQuant does with alpha 1/2 (arXiv 2211.10438); where it has a row of
    weights for itself, in a depthwise convolution, the range is evened out entirely. Without, the ranges of
    the weights on both sides stand in, as in cross-layer equalisation (Nagel et al. 2019, arXiv 1906.04721).
    """
    found = groups(model, shapes)
    wiring = Wiring(model)
    names = {slot.weight for group in found for slot in (*group.makers, *group.takers)}
    weights = {name: values for name in names if (values := wiring.weight(name)) is not None}
    total = [np.ones(group.channels, np.float32) for group in found]
    for _ in range(_SWEEPS):
        furthest = 0.0
        for index, group in enumerate(found):
            scales = _scales(group, weights, _observed(group, activations, total[index]))
            furthest = max(furthest, float(np.abs(np.log(scales)).max()))
            _apply(group, weights, scales)
            total[index] = total[index] * scales
        if furthest < _SETTLED:
            break
    for name, values in weights.items():
        wiring.set_weight(name, values)
    return sum(bool((np.abs(np.log(scales)) > _SETTLED).any()) for scales in total)


def _observed(group: Group, activations: Mapping[str, Array] | None, scales: Array) -> Array | None:
    if activations is None:
        return None
    seen = [activations[name] for name in group.tensors if name in activations]
    fitting = [ranges for ranges in seen if ranges.shape == scales.shape]
    return np.max(fitting, axis=0) * scales if fitting else None


def _scales(group: Group, weights: Mapping[str, Array], observed: Array | None) -> Array:
    makers = [slot for slot in group.makers if not slot.bias]
    made = observed if observed is not None else np.max([_ranges(slot, weights) for slot in makers], axis=0)
    taken = np.max([_shares(slot, weights) for slot in group.takers], axis=0)
    alive = (made > 0) & (taken > 0)
    scales = np.ones(group.channels, np.float32)
    if not alive.any():
        return scales
    if observed is not None and all(slot.depthwise for slot in group.takers):
        scales[alive] = 1 / made[alive]
    else:
        scales[alive] = np.sqrt(taken[alive] / made[alive])
    # Only the ratios between channels matter: their mean stays, and with it the magnitude that a bias was fitted to.
    scales[alive] /= np.exp(np.log(scales[alive]).mean())
    return np.clip(scales, 1 / _WIDEST, _WIDEST)


def _ranges(slot: Slot, weights: Mapping[str, Array]) -> Array:
    return slot.ranges(weights[slot.weight])


def _shares(slot: Slot, weights: Mapping[str, Array]) -> Array:
    """The largest magnitude of each channel, in units of the scale of the row of weights that it lies in."""
    values = weights[slot.weight]
    if slot.depthwise:
        return slot.ranges(values)
    others = tuple(axis for axis in range(values.ndim) if axis != _row_axis(slot, values))
    largest = np.abs(values).max(axis=others, keepdims=True)
    return slot.ranges((values / np.where(largest > 0, largest, 1)).astype(np.float32))


def _row_axis(slot: Slot, values: Array) -> int:
    # A weight of a layer has its channels on its first two axes: those it takes on one, those it makes on the other.
    return 1 - slot.axis if values.ndim > 1 else 0


def _apply(group: Group, weights: dict[str, Array], scales: Array) -> None:
    for slot in group.makers:
        weights[slot.weight] = slot.scaled(weights[slot.weight], scales)
    for slot in group.takers:
        weights[slot.weight] = slot.scaled(weights[slot.weight], np.reciprocal(scales))
