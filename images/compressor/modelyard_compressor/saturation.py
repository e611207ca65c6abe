"""Could this model's sums be cut on a CPU without VNNI? Told from its weights, whatever CPU is at hand."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from modelyard_compressor.wiring import Wiring, attribute

_LARGEST_ACTIVATION = 255
_LIMITS = np.iinfo(np.int16)
_LAYERS = {"Conv": 1, "MatMul": 1, "Gemm": 1, "MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "ConvInteger": 1}
"""Operators, and the input that holds their weights."""


def saturation_risk(quantized: onnx.ModelProto) -> float:
    """The share, 0 to 1, of pairs of neighbouring int8 weights whose sum can leave 16 bits.

    AVX2 and AVX-512 without VNNI multiply 8-bit unsigned activations with signed weights and add neighbours in 16 bits,
    which saturates (VPMADDUBSW; onnxruntime#5849): with activations of 255 that is where two weights of one sign add up
    to more than 128. Neighbours are those along the axis that is summed over. 0 for a model without int8 weights.
    """
    wiring = Wiring(quantized)
    pairs = risky = 0
    for node in wiring.nodes:
        place = _LAYERS.get(node.op_type)
        weights = _int8(node.input[place], wiring) if place is not None and len(node.input) > place else None
        if weights is None:
            continue
        rows = _rows(node, weights)
        rows = rows[:, : rows.shape[1] // 2 * 2].reshape(-1, 2).astype(np.int32)
        highest = _LARGEST_ACTIVATION * np.maximum(rows, 0).sum(axis=1)
        lowest = _LARGEST_ACTIVATION * np.minimum(rows, 0).sum(axis=1)
        pairs += len(rows)
        risky += int(((highest > _LIMITS.max) | (lowest < _LIMITS.min)).sum())
    return risky / pairs if pairs else 0.0


def _int8(name: str, wiring: Wiring) -> npt.NDArray[np.int8] | None:
    producer = wiring.producer.get(name)
    if producer is not None and producer.op_type == "DequantizeLinear":
        name = producer.input[0]
    tensor = wiring.initializer(name)
    if tensor is None or tensor.data_type != onnx.TensorProto.INT8:
        return None
    values: npt.NDArray[np.int8] = numpy_helper.to_array(tensor)
    return values if values.ndim > 1 else None


def _rows(node: onnx.NodeProto, weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """One row an output, the weights that are summed beside each other: channels innermost for convolutions."""
    if node.op_type in ("Conv", "ConvInteger"):
        return np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return weights
    return np.swapaxes(weights, -1, -2).reshape(-1, weights.shape[-2])
