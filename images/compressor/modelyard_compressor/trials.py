"""Which combinations of the quantization axes are tried, and what is each called?"""

from collections.abc import Collection
from itertools import product
from typing import Literal

from modelyard.contract.base import Document
from modelyard.contract.runs import QuantizeRun
from modelyard_compressor.cpu import ActivationType, Cpu
from modelyard_compressor.failures import CompressionError

Mode = Literal["Static", "Dynamic"]
CalibrationMethod = Literal["MinMax", "Entropy", "Percentile"]

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_DYNAMIC = frozenset({"MatMul", "Gemm", "LSTM", "Attention", "Gather"})


class Trial(Document):
    """One way to quantize a model. Weights are signed 8-bit integers always."""

    mode: Mode
    activation: ActivationType
    per_channel: bool
    reduce_range: bool
    """Weights keep to 7 bits."""
    calibration_method: CalibrationMethod | None = None
    """Set for Static."""

    @property
    def name(self) -> str:
        """A readable name that holds every axis, such as ``static-u8s8-perchannel-minmax``."""
        parts = [
            self.mode,
            f"{self.activation}S8",
            "7bit" if self.reduce_range else None,
            "perchannel" if self.per_channel else "pertensor",
            self.calibration_method,
        ]
        return "-".join(part for part in parts if part).lower()


def auto_mode(op_types: Collection[str]) -> Mode:
    """Static for networks with convolutions, Dynamic for transformers, recurrent and dense ones.

    A dynamic convolution is slower than a float one (onnxruntime#15888), while dynamic MatMul needs no calibration and
    beats static on transformers. Raises CompressionError (NothingToQuantize) for a model with neither.
    """
    if _CONVOLUTIONS & set(op_types):
        return "Static"
    if _DYNAMIC & set(op_types):
        return "Dynamic"
    raise CompressionError(
        "NothingToQuantize",
        f"spec.source: the model has no {', '.join(sorted(_CONVOLUTIONS | _DYNAMIC))}; compression gains nothing here",
    )


def plan(axes: QuantizeRun, op_types: Collection[str], cpu: Cpu) -> list[Trial]:
    """Each combination of the axes once, in the order given, for a model of those operators on that CPU.

    Raises CompressionError (NothingToQuantize) where mode is Auto and there is nothing to quantize.
    """
    saturates = {"Auto": cpu.saturates, "Always": True, "Never": False}[axes.reduce_range]
    trials: list[Trial] = []
    for asked, per_channel, method in product(axes.mode, axes.per_channel, axes.calibration_method):
        mode = auto_mode(op_types) if asked == "Auto" else asked
        trial = Trial(
            mode=mode,
            activation=cpu.activation_type if mode == "Static" else "U8",
            per_channel=per_channel,
            reduce_range=saturates,
            calibration_method=method if mode == "Static" else None,
        )
        if trial not in trials:
            trials.append(trial)
    return trials
