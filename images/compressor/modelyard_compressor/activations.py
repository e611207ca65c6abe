"""How large do a model's activations get, channel by channel? Seen one calibration item at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from modelyard_compressor import model_files
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.sessions import open_session
from modelyard_compressor.shapes import Shapes
from modelyard_compressor.wiring import Array


@dataclass(frozen=True)
class Channels:
    """What one tensor's channels held over all calibration samples: arrays of one number a channel."""

    largest: Array
    """Magnitudes."""
    mean: Array


def observe(
    model: onnx.ModelProto, axes: Mapping[str, int], reader: CalibrationReader, scratch: Path, threads: int
) -> dict[str, Channels]:
    """Run the calibration items through ``model`` and look at the tensors in ``axes``, each by its channel axis.

    Memory holds the tensors of one item, however many items there are. Raises onnxruntime's exceptions.
    """
    names = sorted(axes)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    given = {value.name for value in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    path = scratch / "watched.onnx"
    model_files.save(watched, path)
    session = open_session(path, threads)
    model_files.remove(path)
    largest: dict[str, Array] = {}
    totals: dict[str, Array] = {}
    items = 0
    reader.set_range(0, len(reader))
    while (item := reader.get_next()) is not None:
        items += 1
        for name, values in zip(names, session.run(names, item), strict=True):
            rows = np.moveaxis(values, axes[name], 0).reshape(values.shape[axes[name]], -1)
            magnitudes = np.abs(rows).max(axis=1, initial=0)
            largest[name] = np.maximum(largest.get(name, magnitudes), magnitudes)
            totals[name] = totals.get(name, 0) + rows.mean(axis=1)
    return {name: Channels(largest[name], (totals[name] / items).astype(np.float32)) for name in largest}


def channel_axes(model: onnx.ModelProto, shapes: Shapes) -> dict[str, int]:
    """Each float activation with channels, and the axis they are on.

    Inputs and outputs of convolutions have them on axis 1; those of matrix products, and what follows, on the last.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    axes: dict[str, int] = {}
    for node in model.graph.node:
        last = len(shapes.get(node.output[0], ())) - 1
        match node.op_type:
            case "Conv" | "BatchNormalization":
                axis = 1
            case "MatMul" | "Gemm" | "LayerNormalization":
                axis = last
            case _:
                continue
        if last < 1:
            continue
        axes[node.output[0]] = axis
        if node.input[0] not in weights and len(shapes.get(node.input[0], ())) > 1:
            axes.setdefault(node.input[0], 1 if axis == 1 else len(shapes[node.input[0]]) - 1)
    return axes
