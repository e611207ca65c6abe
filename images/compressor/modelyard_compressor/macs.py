"""How many multiply-accumulates does an executed operator do, and in integers or in floats?"""

import math
from collections.abc import Sequence

import onnx

from modelyard_compressor.shapes import Shapes

INTEGER = frozenset(
    {
        "QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
        "QGemm", "DynamicQuantizeLSTM", "QAttention", "MatMulNBits",
    }
)  # fmt: skip
"""Operators of onnxruntime that multiply integers of at most 8 bits."""
FLOAT = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "LSTM", "GRU", "RNN",
     "Attention", "MultiHeadAttention"}
)  # fmt: skip

_KERNELS = {
    "Conv": 1, "FusedConv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3, "LSTM": 1, "GRU": 1, "RNN": 1,
    "DynamicQuantizeLSTM": 1, "Attention": 1, "QAttention": 1,
}  # fmt: skip
"""The input that holds the weights, where the shapes of activations do not tell the work alone."""

Shape = Sequence[int]


def macs(node: onnx.NodeProto, taken: Shape, made: Shape, weights: Shapes) -> int:
    """The multiply-accumulates of one run of ``node``, which took a first input and made a first output so shaped.

    ``weights`` are the shapes of the graph's initializers. 0 for other operators, and where a shape is missing.
    """
    if not taken or not made:
        return 0
    place = _KERNELS.get(node.op_type)
    kernel = weights.get(node.input[place], (0,)) if place is not None else ()
    work = 0
    match node.op_type:
        case "Conv" | "FusedConv" | "ConvInteger" | "QLinearConv":
            work = math.prod(made) * math.prod(kernel[1:])
        case "ConvTranspose":
            work = math.prod(taken) * math.prod(kernel[1:])
        case "LSTM" | "GRU" | "RNN" | "DynamicQuantizeLSTM":
            # Each step of each sequence meets each input weight and each recurrent weight once.
            work = math.prod(taken[:2]) * (math.prod(kernel) + math.prod(weights.get(node.input[2], (0,))))
        case "Attention" | "QAttention":
            work = math.prod(taken[:2]) * math.prod(kernel) + 2 * math.prod(made) * taken[1]
        case "MultiHeadAttention":
            work = 2 * math.prod(made) * taken[1]
        case _ if node.op_type in INTEGER | FLOAT:
            transposed = any(each.name == "transA" and each.i for each in node.attribute)
            work = math.prod(made) * (taken[-2] if transposed else taken[-1])
        case _:
            pass
    return work
