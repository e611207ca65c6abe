"""Where does quantization disturb a model? The signal-to-noise ratio of every tensor, and who brought the noise in."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx

from modelyard_compressor import model_files
from modelyard_compressor.sessions import Feed, Tensor, open_session

_SUFFIX = "_DequantizeLinear_Output"
"""onnxruntime.quantization's name for a tensor after it was rounded."""
_FLOOR = 1e-30
Decibels = Mapping[str, float]
"""Signal to quantization noise, by tensor of the float graph."""


def measure_noise(original: Path, quantized: Path, feeds: Iterable[Feed], scratch: Path, threads: int) -> Decibels:
    """The ratio for each float tensor that both models compute, over all feeds.

    A rounded tensor is taken after rounding. Memory holds the tensors of one feed. Raises onnxruntime's exceptions.
    """
    before, after = onnx.load(original), onnx.load(quantized)
    known = {name for node in after.graph.node for name in node.output}
    pairs: dict[str, str] = {}
    for node in before.graph.node:
        for name in node.output:
            rounded = f"{name}{_SUFFIX}"
            if name and (rounded in known or name in known):
                pairs[name] = rounded if rounded in known else name
    signal = dict.fromkeys(pairs, 0.0)
    noise = dict.fromkeys(pairs, 0.0)
    sessions = [
        open_session(_watching(model, names, scratch / f"watched-{place}.onnx"), threads)
        for place, (model, names) in enumerate([(before, list(pairs)), (after, list(pairs.values()))])
    ]
    for feed in feeds:
        exact, disturbed = (
            session.run(names, feed)
            for session, names in zip(sessions, (list(pairs), list(pairs.values())), strict=True)
        )
        for name, left, right in zip(pairs, exact, disturbed, strict=True):
            if _comparable(left, right):
                signal[name] += float(np.square(left, dtype=np.float64).sum())
                noise[name] += float(np.square(np.subtract(left, right, dtype=np.float64)).sum())
    return {name: _decibels(signal[name], noise[name]) for name in pairs if signal[name] > 0}


def ranked(model: onnx.ModelProto, decibels: Decibels, quantizable: Iterable[str]) -> list[str]:
    """The names of the nodes of those operator types, the one first that adds the most noise relative to its signal.

    What a node adds is the noise of its output less that of its noisiest input.
    """
    types = frozenset(quantizable)
    added: dict[str, float] = {}
    for node in model.graph.node:
        leaving = noise_after(node, model, decibels) if node.op_type in types else None
        if leaving is not None:
            arriving = max((_share(decibels[name]) for name in node.input if name in decibels), default=0.0)
            added[node.name] = _share(leaving) - arriving
    return sorted(added, key=lambda name: -added[name])


def noise_after(node: onnx.NodeProto, model: onnx.ModelProto, decibels: Decibels) -> float | None:
    """The ratio of a node's first output; of what follows it where that is fused into it, as a Relu is."""
    name = node.output[0]
    if name not in decibels:
        followers = [after.output[0] for after in model.graph.node if name in after.input]
        name = followers[0] if len(followers) == 1 else name
    return decibels.get(name)


def _share(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _decibels(signal: float, noise: float) -> float:
    return 10 * math.log10(signal / max(noise, signal * _FLOOR))


def _comparable(left: Tensor, right: Tensor) -> bool:
    floats = np.issubdtype(left.dtype, np.floating) and np.issubdtype(right.dtype, np.floating)
    return bool(floats and left.shape == right.shape and np.isfinite(left).all() and np.isfinite(right).all())


def _watching(model: onnx.ModelProto, names: list[str], path: Path) -> Path:
    given = {value.name for value in model.graph.output}
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    model_files.save(watched, path)
    return path
