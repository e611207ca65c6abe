"""How good are a model's answers? One score a sample, so that two models can be compared in pairs."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard_compressor.data import DataSet
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.intervals import Interval, bootstrap
from modelyard_compressor.sessions import Model, Tensor

Metric = Literal["Top1", "Rmse", "Cosine"]
Scores = npt.NDArray[np.float64]
"""One number a sample: correct or not (Top1), squared error (Rmse), cosine similarity (Cosine)."""


def evaluate(model: Model, data: DataSet, metric: Metric, batch: int) -> Scores:
    """Each sample's score, from the model's first output and the labels, in batches so large.

    The batch matters: dynamic quantization takes its ranges from the whole of it.
    Raises CompressionError: LabelsMissing, LabelsMismatch, or OutputNotFinite where a score is NaN or infinite.
    """
    if data.labels is None:
        raise CompressionError(
            "LabelsMissing", f"spec.data.evaluation: {data.origin.uri} has no array 'labels', which {metric} needs"
        )
    parts: list[Scores] = []
    start = 0
    for feed, count in data.batches(batch, exact=model.batch is not None):
        outputs = model.predict(feed)[:count]
        parts.append(score(metric, outputs, data.labels[start : start + count]))
        start += count
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        raise CompressionError("OutputNotFinite", f"the model's first output is not finite, so {metric} has no value")
    return scores


def score(metric: Metric, outputs: Tensor, labels: Tensor) -> Scores:
    """The scores of a batch: outputs of shape (n, ...), and labels without the class axis (Top1) or as the outputs.

    Raises CompressionError (LabelsMismatch).
    """
    expected = outputs.shape[:-1] if metric == "Top1" else outputs.shape
    if labels.size != int(np.prod(expected)):
        raise CompressionError(
            "LabelsMismatch",
            f"spec.data.evaluation: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}; "
            f"{metric} wants labels of shape {expected}",
        )
    rows = (len(outputs), -1)
    answers, truth = outputs.reshape(rows).astype(np.float64), labels.reshape(rows).astype(np.float64)
    match metric:
        case "Top1":
            scores: Scores = (outputs.argmax(axis=-1).reshape(rows) == labels.reshape(rows)).mean(axis=1)
        case "Rmse":
            scores = np.square(answers - truth).mean(axis=1)
        case "Cosine":
            norms = np.linalg.norm(answers, axis=1) * np.linalg.norm(truth, axis=1)
            scores = np.sum(answers * truth, axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return scores


def accuracy(metric: Metric, scores: Scores) -> float:
    """The metric's value over all samples: a share (Top1), a mean similarity (Cosine), or an error (Rmse)."""
    mean = float(scores.mean())
    return mean**0.5 if metric == "Rmse" else mean


def drop(metric: Metric, baseline: Scores, candidate: Scores) -> float:
    """How much worse the candidate is, in units of the metric; negative where it is better."""
    loss = accuracy(metric, baseline) - accuracy(metric, candidate)
    return -loss if metric == "Rmse" else loss


def drop_interval(metric: Metric, baseline: Scores, candidate: Scores, seed: int) -> Interval:
    """The 95 % interval of the drop, by a paired bootstrap over samples."""
    return bootstrap(lambda chosen: drop(metric, baseline[chosen], candidate[chosen]), len(baseline), seed)
