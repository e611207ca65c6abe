"""By how much do rounded weights shift a layer's mean output, and how is that taken back? In the layer's bias."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from modelyard_compressor.wiring import Array, Wiring, attribute

_LAYERS = frozenset({"Conv", "Gemm"})


def give_biases(model: onnx.ModelProto) -> None:
    """Add a bias of zeros, in ``model`` itself, to every convolution and Gemm without one: it costs nothing to add."""
    wiring = Wiring(model)
    for node in wiring.nodes:
        kernel = wiring.weight(node.input[1]) if node.op_type in _LAYERS else None
        if kernel is None or (len(node.input) > 2 and node.input[2]):
            continue
        name = f"{node.output[0]}.bias"
        size = kernel.shape[0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1]
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(size, np.float32), name))
        del node.input[2:]
        node.input.append(name)


def correct_biases(quantized: onnx.ModelProto, original: onnx.ModelProto, means: Mapping[str, Array]) -> int:
    """Shift the biases of ``quantized``, a model in QDQ format, itself; returns how many layers' biases changed.

    ``original`` is the float model that it was made of, ``means`` the mean of each channel of the layers' inputs. The
    shift is (Wq - W) E[x], summed over a kernel's places: exact but at the borders (Nagel et al. 2019, section 4.2).
    """
    before, after = Wiring(original), Wiring(quantized)
    layers = {node.name: node for node in before.nodes if node.op_type in _LAYERS}
    changed = 0
    for node in after.nodes:
        layer = layers.get(node.name)
        if layer is None or node.op_type != layer.op_type or layer.input[0] not in means:
            continue
        kernel = before.weight(layer.input[1])
        rounded = _dequantized(node.input[1], after)
        bias = after.producer.get(node.input[2]) if len(node.input) > 2 else None
        if kernel is None or rounded is None or bias is None or bias.op_type != "DequantizeLinear":
            continue
        shift = _response(layer, rounded - kernel, means[layer.input[0]])
        if shift is not None:
            changed += _subtract(shift, bias, quantized, after)
    return changed


def _response(layer: onnx.NodeProto, kernel: Array, mean: Array) -> Array | None:
    """The layer's output, without bias, where every place of its input holds the channels' means."""
    if layer.op_type == "Gemm":
        matrix = kernel if attribute(layer, "transB", 0) else kernel.T
        alpha = next((each.f for each in layer.attribute if each.name == "alpha"), 1.0)
        return alpha * (matrix @ mean) if matrix.shape[1] == mean.size else None
    rows: Array = kernel.reshape(*kernel.shape[:2], -1).sum(axis=2)
    group = attribute(layer, "group", 1)
    if mean.size != rows.shape[1] * group:
        return None
    # Each of the groups of filters sees its own slice of the input's channels.
    seen = np.repeat(mean.reshape(group, -1), rows.shape[0] // group, axis=0)
    shift: Array = (rows * seen).sum(axis=1)
    return shift


def _dequantized(name: str, wiring: Wiring) -> Array | None:
    node = wiring.producer.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    parts = [wiring.initializer(part) for part in node.input]
    if any(part is None for part in parts):
        return None
    values, scale, *zero = [numpy_helper.to_array(part) for part in parts if part is not None]
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[attribute(node, "axis", 1)] = scale.size
    offset = zero[0].astype(np.float32).reshape(shape) if zero else np.float32(0)
    dequantized: Array = (values.astype(np.float32) - offset) * scale.reshape(shape)
    return dequantized


def _subtract(shift: Array, bias: onnx.NodeProto, model: onnx.ModelProto, wiring: Wiring) -> int:
    values, scale = wiring.initializer(bias.input[0]), wiring.initializer(bias.input[1])
    if values is None or scale is None or values.data_type != onnx.TensorProto.INT32:
        return 0
    limits = np.iinfo(np.int32)
    steps = np.rint(shift / numpy_helper.to_array(scale))
    corrected = np.clip(numpy_helper.to_array(values) - steps, limits.min, limits.max).astype(np.int32)
    name = values.name
    if len(wiring.consumers.get(name, ())) > 1:
        # Two layers with equal biases may share one: this layer gets its own.
        name = f"{bias.output[0]}.corrected"
        model.graph.initializer.append(values)
        model.graph.initializer[-1].name = name
        bias.input[0] = name
        values = model.graph.initializer[-1]
    values.CopyFrom(numpy_helper.from_array(corrected, name))
    return int(bool(steps.any()))
