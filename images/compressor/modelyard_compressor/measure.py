"""What does each candidate cost and gain beside its source? Accuracy in pairs, latency in turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelyard.contract.runs import CompressRun
from modelyard_compressor import accuracy, latency, model_files
from modelyard_compressor.accuracy import Scores
from modelyard_compressor.data import DataSet
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.latency import Latency, Speedup
from modelyard_compressor.results import CandidateFigures, Figures
from modelyard_compressor.sessions import Model

_BUDGET_SECONDS = 20
"""For all latency measurements together."""


@dataclass(frozen=True)
class Subject:
    """A loaded model and its scores on the evaluation set."""

    path: Path
    model: Model
    scores: Scores
    int8_mac_share: float = 0.0
    """Of the work that onnxruntime executes."""


def load(path: Path, run: CompressRun, evaluation: DataSet) -> Subject:
    """Load and evaluate the model at ``path``. Raises CompressionError, and onnxruntime's exceptions."""
    model = Model(path, run.threads)
    return Subject(path, model, accuracy.evaluate(model, evaluation, run.metric, max(run.batch_sizes)))


def check_batch_sizes(batch_sizes: Sequence[int], model: Model) -> None:
    """Raises CompressionError (BatchSizeUnsupported) where the model accepts one size only and another is asked for."""
    others = [size for size in batch_sizes if model.batch not in (None, size)]
    if others:
        raise CompressionError(
            "BatchSizeUnsupported",
            f"spec.target.batchSizes: the model accepts only batches of {model.batch}, not {others}; "
            f"ask for [{model.batch}], or export it with a dynamic batch dimension",
        )


def measure(
    baseline: Subject, candidates: Sequence[Subject], run: CompressRun, evaluation: DataSet
) -> tuple[Figures, list[CandidateFigures]]:
    """The figures of the baseline, and of the candidates in their order."""
    latencies: list[list[Latency]] = [[] for _ in range(1 + len(candidates))]
    speedups: list[list[Speedup]] = [[] for _ in candidates]
    models = [subject.model for subject in (baseline, *candidates)]
    for size in run.batch_sizes:
        feed = evaluation.rows(np.arange(size) % len(evaluation))
        samples, calls = latency.measure(models, feed, _BUDGET_SECONDS / len(run.batch_sizes))
        for of_model, timed in zip(latencies, samples, strict=True):
            of_model.append(latency.summarise(timed, size, calls))
        for of_candidate, timed in zip(speedups, samples[1:], strict=True):
            of_candidate.append(latency.speedup(samples[0], timed, size, run.seed))
    figures = [
        _candidate_figures(baseline, candidate, run, of_model, of_candidate)
        for candidate, of_model, of_candidate in zip(candidates, latencies[1:], speedups, strict=True)
    ]
    return _figures(baseline, run, latencies[0]), figures


def _figures(subject: Subject, run: CompressRun, latencies: list[Latency]) -> Figures:
    return Figures(
        accuracy=accuracy.accuracy(run.metric, subject.scores),
        size_bytes=model_files.size(subject.path),
        latencies=latencies,
    )


def _candidate_figures(
    baseline: Subject,
    candidate: Subject,
    run: CompressRun,
    latencies: list[Latency],
    speedups: list[Speedup],
) -> CandidateFigures:
    return CandidateFigures(
        **dict(_figures(candidate, run, latencies)),
        accuracy_drop=accuracy.drop(run.metric, baseline.scores, candidate.scores),
        accuracy_drop_interval=accuracy.drop_interval(run.metric, baseline.scores, candidate.scores, run.seed),
        speedups=speedups,
        int8_mac_share=candidate.int8_mac_share,
    )
