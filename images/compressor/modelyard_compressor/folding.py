"""Which additions are a Gemm's bias written apart? Folded, they are summed in 32 bits and cost no operator."""

import onnx

from modelyard_compressor.shapes import Shapes
from modelyard_compressor.wiring import Wiring, attribute


def fold_biases(model: onnx.ModelProto, shapes: Shapes) -> int:
    """Make a Gemm of each product of a matrix and an Add of one number a column behind it, in place.

    Only products of rank 2, which is all that Gemm knows, and only where nothing else takes the product. Returns how
    many were folded.
    """
    wiring = Wiring(model)
    gone: set[str] = set()
    folded = 0
    for node in wiring.nodes:
        if node.op_type != "Add" or len(node.input) != 2:
            continue
        biases = [name for name in node.input if wiring.weight(name) is not None]
        product = wiring.producer.get(next((name for name in node.input if name not in biases), ""))
        if len(biases) != 1 or product is None or not _foldable(product, biases[0], wiring, shapes):
            continue
        product.op_type = "Gemm"
        product.input[:] = [*product.input[:2], biases[0]]
        gone.add(node.output[0])
        product.output[0] = node.output[0]
        folded += 1
    kept = [node for node in wiring.nodes if not (node.op_type == "Add" and node.output[0] in gone)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return folded


def _foldable(product: onnx.NodeProto, bias: str, wiring: Wiring, shapes: Shapes) -> bool:
    if product.op_type not in ("MatMul", "Gemm") or product.domain not in ("", "ai.onnx"):
        return False
    if product.op_type == "Gemm" and any(name for name in product.input[2:]):
        return False
    y = product.output[0]
    alone = len(wiring.consumers.get(y, ())) == 1 and y not in wiring.outputs | wiring.hidden
    matrix, values = wiring.weight(product.input[1]), wiring.weight(bias)
    if not alone or matrix is None or values is None or matrix.ndim != 2:
        return False
    columns = matrix.shape[0 if attribute(product, "transB", 0) else 1]
    flat = len(shapes.get(product.input[0], ())) == 2
    return flat and values.size == columns and values.shape[-1:] == (columns,) and values.ndim <= 2
