"""Which combinations of the quantization axes are tried, and what is each called?"""

from collections.abc import Collection
from itertools import product
from random import Random
from typing import Literal

from modelyard.contract.base import Document
from modelyard.contract.runs import QuantizeRun
from modelyard_compressor.cpu import ActivationType, Cpu
from modelyard_compressor.failures import CompressionError

Mode = Literal["Static", "Dynamic", "Int4", "Float16"]
CalibrationMethod = Literal["MinMax", "Entropy", "Percentile"]

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_DYNAMIC = frozenset({"MatMul", "Gemm", "LSTM", "Attention", "Gather"})


class Trial(Document):
    """One way to make a model smaller. Eight-bit weights are signed always."""

    start: str | None = None
    """What was done to the float model that is quantized; absent for the source itself."""
    mode: Mode
    activation: ActivationType | None = None
    """Set for Static and Dynamic."""
    per_channel: bool = False
    reduce_range: bool = False
    """Weights keep to 7 bits."""
    calibration_method: CalibrationMethod | None = None
    """Set for Static."""
    range_repair: bool = False
    """Channel ranges are evened out before, and biases corrected after."""

    @property
    def name(self) -> str:
        """A readable name that holds every axis, such as ``static-u8s8-perchannel-minmax-repaired``."""
        parts: list[str | None] = [self.start, self.mode]
        if self.activation is not None:
            parts += [
                f"{self.activation}S8",
                "7bit" if self.reduce_range else None,
                "perchannel" if self.per_channel else "pertensor",
                self.calibration_method,
                "repaired" if self.range_repair else None,
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

    Axes that a mode does not have count once. Raises CompressionError (NothingToQuantize) where mode is Auto and there
    is nothing to quantize.
    """
    saturates = {"Auto": cpu.saturates, "Always": True, "Never": False}[axes.reduce_range]
    trials: list[Trial] = []
    for asked, per_channel, method, repair in product(
        axes.mode, axes.per_channel, axes.calibration_method, axes.range_repair
    ):
        mode = auto_mode(op_types) if asked == "Auto" else asked
        match mode:
            case "Static" | "Dynamic":
                trial = Trial(
                    mode=mode,
                    activation=cpu.activation_type if mode == "Static" else "U8",
                    per_channel=per_channel,
                    reduce_range=saturates,
                    calibration_method=method if mode == "Static" else None,
                    range_repair=repair,
                )
            case "Int4" | "Float16":
                trial = Trial(mode=mode)
        if trial not in trials:
            trials.append(trial)
    return trials


def sampled(trials: list[Trial], most: int, seed: int) -> list[Trial]:
    """At most so many of the trials, in their order: the first one, and others drawn by ``seed``."""
    if len(trials) <= most:
        return trials
    drawn = {0, *Random(seed).sample(range(1, len(trials)), most - 1)}  # noqa: S311 (no secret)
    return [trial for index, trial in enumerate(trials) if index in drawn]
