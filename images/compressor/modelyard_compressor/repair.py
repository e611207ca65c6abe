"""In which order is a float model made fit for eight bits? Ranges evened out, and checked to compute the same."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from modelyard_compressor import model_files
from modelyard_compressor.activations import channel_axes, observe
from modelyard_compressor.bias import correct_biases, give_biases
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.equalise import equalise
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.sessions import Feed, open_session
from modelyard_compressor.shapes import infer_shapes
from modelyard_compressor.wiring import Array

LOG = logging.getLogger(__name__)

_TOLERANCE = 1e-3
"""Of the largest output: float32 rounding through some tens of layers stays far below."""


@dataclass(frozen=True)
class Repaired:
    """A float model that computes what its source does, with even ranges."""

    path: Path
    groups: int
    """Sets of tensors that were rescaled."""
    means: dict[str, Array]
    """The mean of each channel, by tensor, over the calibration samples; empty without any."""


def repair(
    source: Path, target: Path, probe: Feed, reader: CalibrationReader | None, scratch: Path, threads: int
) -> Repaired:
    """Write ``source`` with even ranges to ``target``; ``probe`` is a batch to compare the two on.

    Raises CompressionError (RangeRepairFailed) where the outputs differ, and onnxruntime's exceptions.
    """
    model = onnx.load(source)
    shapes = infer_shapes(model, {name: array.shape for name, array in probe.items()})
    give_biases(model)
    axes = channel_axes(model, shapes)
    seen = observe(model, axes, reader, scratch, threads) if reader is not None else None
    groups = equalise(model, shapes, {name: of.largest for name, of in seen.items()} if seen is not None else None)
    model_files.save(model, target)
    _check(source, target, probe, threads)
    if groups and reader is not None:
        seen = observe(model, axes, reader, scratch, threads)
    LOG.info("ranges of %d sets of tensors evened out", groups)
    return Repaired(target, groups, {name: of.mean for name, of in (seen or {}).items()})


def correct(quantized: Path, repaired: Repaired) -> int:
    """Correct the biases of the model at ``quantized``, made of ``repaired``, in place; returns how many changed."""
    model = onnx.load(quantized)
    changed = correct_biases(model, onnx.load(repaired.path), repaired.means)
    if changed:
        model_files.save(model, quantized)
    return changed


def _check(source: Path, target: Path, probe: Feed, threads: int) -> None:
    for before, after in zip(*(open_session(path, threads).run(None, probe) for path in (source, target)), strict=True):
        if not np.issubdtype(before.dtype, np.floating):
            continue
        largest = float(np.abs(before).max(initial=0)) or 1.0
        error = float(np.abs(before - after).max(initial=0)) / largest
        if not error <= _TOLERANCE:
            raise CompressionError(
                "RangeRepairFailed",
                f"the model with even ranges answers differently (by {error:.2g} of the largest output); "
                "set rangeRepair: [false] in the quantize step",
            )
