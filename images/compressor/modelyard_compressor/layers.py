"""What did quantization do to each layer? Bytes of its weights, and the noise in its output."""

import math
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_signal_to_quantization_noice_ratio,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)

from modelyard.contract.base import Document
from modelyard_compressor.data import DataSet
from modelyard_compressor.sessions import Tensor
from modelyard_compressor.shapes import Shapes, infer_shapes

_BATCHES = 4
_ACTIVATION_LIMIT_BYTES = 256 * 1024 * 1024
_SUFFIXES = ("_quantized", "_Transposed")
"""What onnxruntime appends to the name of a weight that it quantized, or turned Gemm into MatMul for."""

_WEIGHT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32)
"""Biases of static models are INT32, embeddings of dynamic ones UINT8. INT64 holds shapes and axes."""


class Layer(Document):
    """One layer with a matrix or a kernel of weights, named as in the float graph."""

    name: str
    operator: str
    float_bytes: int
    int8_bytes: int
    sqnr_decibels: float | None = None
    """Signal to quantization noise of its output, against the float model; absent for dynamic trials."""


def layers(float_model: onnx.ModelProto, quantized: onnx.ModelProto, noise: dict[str, float]) -> list[Layer]:
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
            sqnr_decibels=_noise_after(node, float_model, noise),
        )
        for node in float_model.graph.node
        if any(name in matrices and name in float_bytes for name in node.input)
    ]


def affordable(float_model: onnx.ModelProto, input_shapes: Shapes) -> bool:
    """Whether all activations of one batch fit into a modest memory, which ``output_noise`` keeps them in."""
    shapes = infer_shapes(float_model, input_shapes)
    outputs = [shapes.get(name, ()) for node in float_model.graph.node for name in node.output]
    return sum(4 * math.prod(shape) for shape in outputs) <= _ACTIVATION_LIMIT_BYTES


def output_noise(float_path: Path, quantized_path: Path, data: DataSet, batch: int, scratch: Path) -> dict[str, float]:
    """Signal to quantization noise in decibels of each activation of a static model, the mean over a few batches.

    Written and read through files in ``scratch``. Raises onnxruntime's exceptions.
    """
    decibels: dict[str, list[float]] = {}
    for start in range(0, min(_BATCHES * batch, len(data)), batch):
        feed = data.rows(np.arange(start, start + batch) % len(data))
        quantized, original = (_activations(path, feed, scratch) for path in (quantized_path, float_path))
        for name, tensors in create_activation_matching(quantized, original).items():
            if "float" in tensors:
                ratio = compute_signal_to_quantization_noice_ratio(tensors["float"], tensors["post_qdq"])
                decibels.setdefault(name, []).append(ratio)
    return {name: float(np.mean(ratios)) for name, ratios in decibels.items()}


def _activations(path: Path, feed: dict[str, Tensor], scratch: Path) -> dict[str, list[Tensor]]:
    augmented = scratch / f"augmented-{path.name}"
    modify_model_output_intermediate_tensors(path, augmented)
    activations: dict[str, list[Tensor]] = collect_activations(str(augmented), [feed])
    return activations


def _noise_after(node: onnx.NodeProto, model: onnx.ModelProto, noise: dict[str, float]) -> float | None:
    # A Relu or Clip behind a layer is fused into it, so the noise is that of the tensor behind both.
    name = node.output[0]
    if name not in noise:
        followers = [after.output[0] for after in model.graph.node if name in after.input]
        name = followers[0] if len(followers) == 1 else name
    return noise.get(name)


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
