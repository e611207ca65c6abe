"""How large is each tensor of a graph, for inputs of a given size?"""

from collections.abc import Mapping

import onnx

Shapes = Mapping[str, tuple[int, ...]]
"""By tensor name."""


def infer_shapes(model: onnx.ModelProto, input_shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of inputs, weights and activations, as far as ONNX can infer them."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        for dimension, size in zip(dimensions, input_shapes.get(value.name, ()), strict=False):
            dimension.dim_value = size
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.HasField("shape"):
            # What stays symbolic, the batch for the most part, counts as 1.
            shapes[value.name] = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
    return shapes
