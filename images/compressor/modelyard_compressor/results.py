"""What is known of a model after it was measured?"""

from collections.abc import Sequence

from modelyard.contract.base import Document
from modelyard.contract.compression import Candidate, GateResult, Measurement, ParetoPoint
from modelyard.contract.decimals import decimal
from modelyard_compressor.intervals import Interval
from modelyard_compressor.latency import Latency, Speedup
from modelyard_compressor.trials import Trial


class Figures(Document):
    """Accuracy, size and latency of one model; latencies in the order of the batch sizes asked for."""

    accuracy: float
    """In units of the metric."""
    size_bytes: int
    """Of ``model.onnx``."""
    latencies: list[Latency]

    def measurement(self) -> Measurement:
        """The same in the words of the contract, at the first batch size."""
        return Measurement(
            accuracy=decimal(self.accuracy),
            latency_p50_milliseconds=decimal(self.latencies[0].p50_milliseconds),
            latency_p99_milliseconds=decimal(self.latencies[0].p99_milliseconds),
            size_bytes=self.size_bytes,
        )


class CandidateFigures(Figures):
    """A compressed model's figures beside its source's."""

    accuracy_drop: float
    """Positive where the candidate is worse, whatever the metric."""
    accuracy_drop_interval: Interval
    speedups: list[Speedup]
    int8_mac_share: float
    """Of the multiply-accumulates that onnxruntime executes, from 0 to 1."""


class InfeasibleTrial(Document):
    """A trial that could not be built or run, and why."""

    name: str
    trial: Trial
    error: str


class MeasuredTrial(Document):
    """A trial that was built and measured, and the verdict of each gate on it."""

    name: str
    trial: Trial
    figures: CandidateFigures
    gates: list[GateResult]
    excluded: list[str] = []
    """Nodes that were left in float for the accuracy gate."""
    saturation_risk: float = 0.0
    """The share of neighbouring weights whose sums a CPU without VNNI could cut at 16 bits."""
    unasked: list[str] = []
    """Nodes that run in float although nobody left them out, as ``name (operator)``."""

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)

    def candidate(self) -> Candidate:
        """The figures in the words of the contract, at the first batch size."""
        return Candidate(
            **self.figures.measurement().model_dump(by_alias=False),
            trial=self.name,
            accuracy_drop=decimal(self.figures.accuracy_drop),
            speedup=decimal(self.figures.speedups[0].value),
            int8_mac_share=decimal(self.figures.int8_mac_share),
        )

    def point(self) -> ParetoPoint:
        """The figures that the search weighs against each other."""
        return ParetoPoint(
            trial=self.name,
            accuracy_drop=decimal(self.figures.accuracy_drop, 3),
            latency_p50_milliseconds=decimal(self.figures.latencies[0].p50_milliseconds, 4),
            size_bytes=self.figures.size_bytes,
        )


def pareto(trials: Sequence[MeasuredTrial]) -> list[MeasuredTrial]:
    """The trials that no other one matches in accuracy, median latency and size while it beats them in one.

    From the fastest to the slowest.
    """
    front = [trial for trial in trials if not any(_dominates(other, trial) for other in trials)]
    return sorted(front, key=lambda trial: trial.figures.latencies[0].p50_milliseconds)


def _dominates(one: MeasuredTrial, other: MeasuredTrial) -> bool:
    better, worse = _objectives(one), _objectives(other)
    return better != worse and all(left <= right for left, right in zip(better, worse, strict=True))


def _objectives(trial: MeasuredTrial) -> tuple[float, float, float]:
    figures = trial.figures
    return figures.accuracy_drop, figures.latencies[0].p50_milliseconds, figures.size_bytes
