"""How is one trial's model built from a float one? By onnxruntime.quantization, and for storage by hand."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.registry import QDQRegistry

from modelyard_compressor import model_files
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.half import store_in_half
from modelyard_compressor.shield import shield
from modelyard_compressor.trials import Trial

DYNAMIC_OPERATORS = ["MatMul", "LSTM", "Attention", "Gather"]
"""Gemm is rewritten to MatMul first. Never Conv: a dynamic one is slower than float (onnxruntime#15888)."""
_PRODUCTS = ["MatMul", "Gemm", "Attention", "EmbedLayerNormalization"]
_DELICATE = frozenset({"Softmax", "LayerNormalization", "InstanceNormalization", "Where", "Sigmoid", "Unsqueeze"})
"""Left in float among convolutions: eight bits of a probability or a variance are too few, and save no time."""
_ACTIVATIONS = {"U8": QuantType.QUInt8, "S8": QuantType.QInt8}
_BLOCK = 32
_INT8_COMPUTE = 4
"""MatMulNBits without it computes in float, and is slow on a CPU (onnxruntime#23004)."""
_MARKS = ("Quantize", "Integer", "NBits", "Cast")


def static_operators(model: onnx.ModelProto) -> list[str]:
    """What a static trial quantizes: the whole stream around convolutions, but only products in other networks.

    A mask of large negative numbers, an index or a shape is then never rounded to eight bits.
    """
    found = {node.op_type for node in model.graph.node}
    if not found & {"Conv", "ConvTranspose"}:
        return [operator for operator in _PRODUCTS if operator in found]
    return sorted((set(QDQRegistry) & found) - _DELICATE)


def build_static(
    trial: Trial, source: Path, target: Path, reader: CalibrationReader, ranges: Path, excluded: Sequence[str]
) -> None:
    """Quantize ``source`` into ``target`` in QDQ format, with the activation ranges that the file ``ranges`` holds.

    They are measured, and kept there, where the file does not exist. Nodes named in ``excluded`` stay in float when
    the model runs, too. Raises what onnxruntime raises.
    """
    assert trial.calibration_method is not None, "a static trial has a calibration method"
    assert trial.activation is not None, "a static trial has a type of activations"
    # The histogram methods print their progress; errors are raised, not printed.
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            source,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=static_operators(onnx.load(source)),
            per_channel=trial.per_channel,
            reduce_range=trial.reduce_range,
            activation_type=_ACTIVATIONS[trial.activation],
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(excluded),
            calibrate_method=CalibrationMethod[trial.calibration_method],
            extra_options={"CalibStridedMinMax": reader.stride},
            calibration_cache_path=ranges,
            use_external_data_format=model_files.is_large(source),
        )
    if excluded:
        model = onnx.load(target)
        shield(model, excluded)
        model_files.save(model, target)


def build_dynamic(trial: Trial, source: Path, target: Path, excluded: Sequence[str]) -> None:
    """Quantize the weights of matrix products; activations follow at run time. Raises what onnxruntime raises."""
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=DYNAMIC_OPERATORS,
        per_channel=trial.per_channel,
        reduce_range=trial.reduce_range,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_with_products_of_gemm(excluded),
        use_external_data_format=model_files.is_large(source),
    )


def build_int4(source: Path, target: Path, excluded: Sequence[str]) -> None:
    """Store the weights of matrix products in 4 bits, in blocks with a scale each, computed with in 8 bits.

    Raises CompressionError (NothingQuantized) where the model has none, and what onnxruntime raises.
    """
    model = ONNXModel(onnx.load(source))
    model.replace_gemm_with_matmul()
    quantizer = MatMulNBitsQuantizer(
        model.model,
        block_size=_BLOCK,
        is_symmetric=True,
        accuracy_level=_INT8_COMPUTE,
        nodes_to_exclude=_with_products_of_gemm(excluded),
    )
    quantizer.process()
    model_files.save(quantizer.model.model, target)


def build_half(source: Path, target: Path) -> None:
    """Store weights in 16 bits."""
    model = onnx.load(source)
    store_in_half(model)
    model_files.save(model, target)


def check_quantized(trial: Trial, target: Path) -> None:
    """Raises CompressionError (NothingQuantized) where the trial changed no operator."""
    operators = {node.op_type for node in onnx.load(target).graph.node}
    if not any(mark in operator for operator in operators for mark in _MARKS):
        raise CompressionError("NothingQuantized", f"{trial.name} left every operator in float")


def _with_products_of_gemm(excluded: Sequence[str]) -> list[str]:
    return [*excluded, *(f"{name}_MatMul" for name in excluded)]
