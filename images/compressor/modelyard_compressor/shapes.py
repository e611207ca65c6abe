"""How large is each tensor of a graph, for inputs of a given size?"""

import math
from collections.abc import Mapping

import onnx

Shapes = Mapping[str, tuple[int, ...]]
"""By tensor name."""
_SMALL = 64
"""Elements of a weight that may be a shape, an axis or a repeat that other shapes follow from."""


def infer_shapes(model: onnx.ModelProto, input_shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of inputs, weights and activations, as far as ONNX can infer them."""
    fixed = outline(model)
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


def outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large weights as inputs, so as shapes alone: inferring shapes would copy them."""
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.node.extend(model.graph.node)
    bare.graph.output.extend(model.graph.output)
    bare.graph.value_info.extend(model.graph.value_info)
    given = {value.name for value in model.graph.input}
    bare.graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in given:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return bare
