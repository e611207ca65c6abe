"""What came of it, in one word and one line?"""

from dataclasses import dataclass
from typing import Literal

from modelyard.contract.runs import CompressRun
from modelyard_compressor.gates import refusal
from modelyard_compressor.latency import NOISY
from modelyard_compressor.results import Figures, MeasuredTrial


@dataclass(frozen=True)
class Verdict:
    """A result, good or bad. What gives no result is an exception."""

    outcome: Literal["Succeeded", "Rejected"]
    reason: Literal["AllGatesMet", "GatesNotMet", "BaselinePublished"]
    message: str


def verdict(selected: MeasuredTrial, baseline: Figures, run: CompressRun) -> Verdict:
    """Succeeded with what was gained, or Rejected with each failed gate.

    Succeeded too where ``onFailure`` asks for the source model in the rejected one's place.
    """
    noise = _noise(baseline)
    if not selected.passed and run.gates.on_failure == "PublishBaseline":
        message = f"the source model is published unchanged; {selected.name}: {refusal(selected.gates)}{noise}"
        return Verdict("Succeeded", "BaselinePublished", message)
    if not selected.passed:
        return Verdict("Rejected", "GatesNotMet", f"{selected.name}: {refusal(selected.gates)}{noise}")
    figures, speedup = selected.figures, selected.figures.speedups[0]
    return Verdict(
        "Succeeded",
        "AllGatesMet",
        f"{selected.name}: {speedup.value:.2f}x as fast (95 % interval {speedup.interval.low:.2f} to "
        f"{speedup.interval.high:.2f}), {baseline.size_bytes / figures.size_bytes:.2f}x smaller, "
        f"{run.metric.name} {figures.accuracy:.4g} against {baseline.accuracy:.4g}{noise}",
    )


def _noise(baseline: Figures) -> str:
    worst = max(latency.variation for latency in baseline.latencies)
    return f"; noisy: the source's own latency varied by {worst:.0%}" if worst > NOISY else ""
