"""How does a model take half the room without new arithmetic? Its weights are stored in 16 bits."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SMALLEST = 256
"""Values in a weight below which a Cast would take more room than it saves."""


def store_in_half(model: onnx.ModelProto) -> int:
    """Store the float32 weights of ``model`` as float16 behind a Cast, in place; returns how many.

    onnxruntime folds each Cast when it loads the model, so everything runs in float32, as fast as before. Weights
    beyond the range of float16 stay.
    """
    limit = np.finfo(np.float16).max
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _SMALLEST or not (np.abs(values) <= limit).all():
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], f"{stored}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts]
    for node in model.graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        nodes.append(copied)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return len(casts)
