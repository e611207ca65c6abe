"""What share of a network's multiply-accumulates runs in 8-bit integers? Counted on the quantized graph."""

import math

import onnx

from modelyard_compressor.shapes import Shapes, infer_shapes

_OPERATORS = frozenset({"Conv", "MatMul", "Gemm", "LSTM"})
_INTEGER_OPERATORS = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM"})


def int8_share(model: onnx.ModelProto, input_shapes: Shapes) -> float:
    """The share, 0 to 1, of the MACs of Conv, MatMul, Gemm and LSTM on 8-bit operands, for inputs so shaped.

    onnxruntime runs such an operator between DequantizeLinear nodes as one integer kernel. Operators whose shapes
    cannot be inferred count on neither side; without any MACs the share is 0.
    """
    shapes = infer_shapes(model, input_shapes)
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    total = integer = 0
    for node in model.graph.node:
        if node.op_type not in _OPERATORS | _INTEGER_OPERATORS:
            continue
        macs = _macs(node, shapes)
        total += macs
        if node.op_type in _INTEGER_OPERATORS or dequantized.issuperset(node.input[:2]):
            integer += macs
    return integer / total if total else 0.0


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    left, right, result = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
    if not left or not right or result is None:
        return 0
    if node.op_type in ("Conv", "ConvInteger"):
        return math.prod(result) * math.prod(right[1:])
    if node.op_type in ("LSTM", "DynamicQuantizeLSTM"):
        # Each step of each sequence meets each input weight and each recurrent weight once.
        return math.prod(left[:2]) * (math.prod(right) + math.prod(shapes.get(node.input[2], (0,))))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(result) * (left[0] if transposed else left[-1])
