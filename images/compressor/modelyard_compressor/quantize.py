"""How is one trial's model built? By onnxruntime.quantization, in QDQ format or with dynamic ranges."""

import contextlib
import io
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static

from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.trials import Trial

_DYNAMIC_OPERATORS = ["MatMul", "LSTM", "Attention", "Gather"]
"""Gemm is rewritten to MatMul first. Never Conv: a dynamic one is slower than float (onnxruntime#15888)."""
_ACTIVATIONS = {"U8": QuantType.QUInt8, "S8": QuantType.QInt8}


def build(trial: Trial, source: Path, target: Path, reader: CalibrationReader | None) -> None:
    """Quantize the model ``source`` as ``trial`` says, into the single file ``target``. ``reader`` is for Static.

    Raises CompressionError (NothingQuantized) where not one operator was, and whatever onnxruntime raises.
    """
    match trial.mode:
        case "Static":
            assert reader is not None, "a static trial was planned without calibration data"
            _static(trial, source, target, reader)
        case "Dynamic":
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=_DYNAMIC_OPERATORS,
                per_channel=trial.per_channel,
                reduce_range=trial.reduce_range,
                weight_type=QuantType.QInt8,
            )
    operators = {node.op_type for node in onnx.load(target).graph.node}
    if not any("Quantize" in operator for operator in operators):
        raise CompressionError("NothingQuantized", f"{trial.name} left every operator in float")


def _static(trial: Trial, source: Path, target: Path, reader: CalibrationReader) -> None:
    assert trial.calibration_method is not None, "a static trial has a calibration method"
    # The histogram methods print their progress; errors are raised, not printed.
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            source,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=trial.per_channel,
            reduce_range=trial.reduce_range,
            activation_type=_ACTIVATIONS[trial.activation],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[trial.calibration_method],
            extra_options={"CalibStridedMinMax": reader.stride},
        )
