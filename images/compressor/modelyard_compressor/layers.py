"""What did quantization do to each layer? Bytes of its weights, and the noise in its output."""

import onnx

from modelyard.contract.base import Document
from modelyard_compressor.noise import Decibels, noise_after

_SUFFIXES = ("_quantized", "_Transposed", ".half")
"""What is appended to a weight's name where it is quantized, turned for a MatMul in place of Gemm, or halved."""

_WEIGHT_TYPES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT32,
)
"""Biases of static models are INT32, embeddings of dynamic ones UINT8. INT64 holds shapes and axes."""


class Layer(Document):
    """One layer with a matrix or a kernel of weights, named as in the float graph."""

    name: str
    operator: str
    float_bytes: int
    int8_bytes: int
    sqnr_decibels: float | None = None
    """Signal to quantization noise of its output, against the float model."""


def layers(float_model: onnx.ModelProto, quantized: onnx.ModelProto, noise: Decibels) -> list[Layer]:
    """Each such layer of the float graph, in graph order. ``noise`` is decibels by output tensor."""
    matrices = {tensor.name for tensor in float_model.graph.initializer if len(tensor.dims) > 1}
    float_bytes = _bytes_by_weight(float_model)
    int8_bytes = _bytes_by_weight(quantized)
    return [
        Layer(
            name=node.name or node.output[0],
            operator=node.op_type,
            float_bytes=sum(float_bytes[name] for name in node.input if name in float_bytes),
            int8_bytes=sum(int8_bytes.get(name, 0) for name in node.input if name in float_bytes),
            sqnr_decibels=noise_after(node, float_model, noise),
        )
        for node in float_model.graph.node
        if any(name in matrices and name in float_bytes for name in node.input)
    ]


def _bytes_by_weight(model: onnx.ModelProto) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type not in _WEIGHT_TYPES:
            continue
        name = tensor.name
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        sizes[name] = sizes.get(name, 0) + onnx.numpy_helper.to_array(tensor).nbytes
    return sizes
