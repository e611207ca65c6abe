"""Which candidate holds its limits, and which one is selected?"""

from collections.abc import Sequence

from modelyard.contract.compression import GateResult
from modelyard.contract.decimals import Decimal, decimal
from modelyard.contract.runs import GatesRun
from modelyard_compressor.intervals import Interval
from modelyard_compressor.results import CandidateFigures, MeasuredTrial

_ROUNDING = 1e-9
"""A drop from 0.97 to 0.96 is 0.010000000000000009 in binary, and holds a limit of 0.01."""


def judge(gates: GatesRun, figures: CandidateFigures) -> list[GateResult]:
    """The verdict of each gate that has a limit, named as in ``spec.gates``; latencies at the first batch size."""
    latency, speedup = figures.latencies[0].p99_milliseconds, figures.speedups[0].value
    drop = observed_drop(gates, figures.accuracy_drop, figures.accuracy_drop_interval)
    verdicts = [
        _at_most("maxAccuracyDrop", gates.max_accuracy_drop, drop),
        _at_most("maxLatencyP99Milliseconds", gates.max_latency_p99_milliseconds, latency),
        _at_least("minSpeedup", gates.min_speedup, speedup),
        _at_most("maxSizeBytes", gates.max_size_bytes, figures.size_bytes),
        _at_least("minInt8MacShare", gates.min_int8_mac_share, figures.int8_mac_share),
    ]
    return [verdict for verdict in verdicts if verdict is not None]


def observed_drop(gates: GatesRun, drop: float, interval: Interval) -> float:
    """The drop that the gate looks at: the measured one, or the upper end of its confidence interval."""
    return interval.high if gates.accuracy_drop_by == "UpperBound" else drop


def within(observed: float, limit: float) -> bool:
    """Whether ``observed`` holds an upper ``limit``, but for what binary fractions cost."""
    return observed <= limit + _ROUNDING


def select(trials: Sequence[MeasuredTrial]) -> MeasuredTrial:
    """The trial that passes the most gates; of those the fastest; of those that may be as fast the most accurate.

    So the selected trial passes all gates whenever one does. As fast may be one whose interval of the speedup reaches
    into that of the fastest: the noise of a machine does not choose. ``trials`` is not empty.
    """
    most = max(map(_passed, trials))
    rivals = [trial for trial in trials if _passed(trial) == most]
    least = max(rivals, key=_speedup).figures.speedups[0].interval.low
    as_fast = (trial for trial in rivals if trial.figures.speedups[0].interval.high >= least)
    return min(as_fast, key=lambda trial: (trial.figures.accuracy_drop, -_speedup(trial)))


def _passed(trial: MeasuredTrial) -> int:
    return sum(gate.passed for gate in trial.gates)


def _speedup(trial: MeasuredTrial) -> float:
    return trial.figures.speedups[0].value


def refusal(gates: Sequence[GateResult]) -> str:
    """The failed gates in one line, such as ``maxAccuracyDrop: 0.031 observed, limit 0.01``."""
    return "; ".join(f"{gate.name}: {gate.observed} observed, limit {gate.limit}" for gate in gates if not gate.passed)


def _at_most(name: str, limit: float | None, observed: float) -> GateResult | None:
    if limit is None:
        return None
    return GateResult(name=name, limit=_text(limit), observed=_text(observed), passed=within(observed, limit))


def _at_least(name: str, limit: float | None, observed: float) -> GateResult | None:
    if limit is None:
        return None
    return GateResult(name=name, limit=_text(limit), observed=_text(observed), passed=within(-observed, -limit))


def _text(value: float) -> Decimal:
    return str(value) if isinstance(value, int) else decimal(value)
