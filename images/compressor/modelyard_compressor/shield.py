"""How does an operator stay in float between quantized ones? By an identity in front that onnxruntime keeps."""

from collections.abc import Collection

import onnx
from onnx import helper


def shield(quantized: onnx.ModelProto, kept: Collection[str]) -> int:
    """Put an identity before each activation that a node named in ``kept`` takes from a DequantizeLinear, in place.

    onnxruntime quantizes the float weights of a convolution or Gemm between DequantizeLinear and QuantizeLinear when
    it loads the model, per tensor, and runs an Add or a pool there in integers. LeakyRelu of slope 1 is an identity
    that it neither removes nor fuses into what follows. Returns how many were inserted.
    """
    dequantized = {name for node in quantized.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weights = {tensor.name for tensor in quantized.graph.initializer}
    constant = {
        node.output[0]
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    nodes: list[onnx.NodeProto] = []
    inserted = 0
    for node in quantized.graph.node:
        if node.name in kept:
            for place, name in enumerate(node.input):
                if name in dequantized and name not in constant:
                    shielded = f"{node.name}.{name}.float"
                    if not any(shielded in made.output for made in nodes):
                        nodes.append(helper.make_node("LeakyRelu", [name], [shielded], shielded, alpha=1.0))
                        inserted += 1
                    node.input[place] = shielded
        nodes.append(node)
    # Copies, since clearing the graph's list frees the nodes in it.
    copies = [_copy(node) for node in nodes]
    del quantized.graph.node[:]
    quantized.graph.node.extend(copies)
    return inserted


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
