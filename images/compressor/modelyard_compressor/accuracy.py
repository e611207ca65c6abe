"""How good are a model's answers? One score a sample, so that two models can be compared in pairs."""

import numpy as np
import numpy.typing as npt

from modelyard.contract.runs import MetricRun
from modelyard_compressor.custom_metric import scored
from modelyard_compressor.data import DataSet
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.intervals import Interval, bootstrap
from modelyard_compressor.sessions import Model, Tensor

_ONE_OF_MANY = ("Top1", "F1")
Scores = npt.NDArray[np.float64]
"""One number a sample: correct or not (Top1), squared error (Rmse), cosine similarity (Cosine).

For F1 a row a sample: the class answered and the class right, at each place.
"""


def evaluate(model: Model, data: DataSet, metric: MetricRun, batch: int) -> Scores:
    """Each sample's score in batches so large: from the labels and the first output, all outputs for an entry point.

    The batch matters: dynamic quantization takes its ranges from the whole of it.
    Raises what ``scored`` raises, and CompressionError: LabelsMissing, LabelsMismatch, or OutputNotFinite where a score
    is NaN or infinite.
    """
    if data.labels is None:
        raise CompressionError(
            "LabelsMissing", f"spec.data.evaluation: {data.origin.uri} has no array 'labels', which {metric.name} needs"
        )
    parts: list[Scores] = []
    start = 0
    for feed, count in data.batches(batch, exact=model.batch is not None):
        labels = data.labels[start : start + count]
        if metric.entrypoint is None:
            parts.append(score(metric, model.predict(feed)[:count], labels))
        else:
            parts.append(scored(metric.entrypoint, model.predict_all(feed, count), labels))
        start += count
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        raise CompressionError(
            "OutputNotFinite", f"the model's first output is not finite, so {metric.name} has no value"
        )
    return scores


def score(metric: MetricRun, outputs: Tensor, labels: Tensor) -> Scores:
    """The scores of a batch: outputs of shape (n, ...), and labels without the class axis (Top1) or as the outputs.

    Raises CompressionError (LabelsMismatch).
    """
    expected = outputs.shape[:-1] if metric.name in _ONE_OF_MANY else outputs.shape
    if labels.size != int(np.prod(expected)):
        raise CompressionError(
            "LabelsMismatch",
            f"spec.data.evaluation: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}; "
            f"{metric.name} wants labels of shape {expected}",
        )
    rows = (len(outputs), -1)
    answers, truth = outputs.reshape(rows).astype(np.float64), labels.reshape(rows).astype(np.float64)
    match metric.name:
        case "Top1":
            scores: Scores = (outputs.argmax(axis=-1).reshape(rows) == labels.reshape(rows)).mean(axis=1)
        case "F1":
            classes = outputs.argmax(axis=-1).reshape(rows)
            scores = np.stack([classes, labels.reshape(rows)], axis=1).astype(np.float64)
        case "Rmse":
            scores = np.square(answers - truth).mean(axis=1)
        case _:
            norms = np.linalg.norm(answers, axis=1) * np.linalg.norm(truth, axis=1)
            scores = np.sum(answers * truth, axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return scores


def accuracy(metric: MetricRun, scores: Scores) -> float:
    """The metric's value over all samples: a share (Top1), an error (Rmse), a mean (all others).

    F1 is the mean over the classes that are right or answered anywhere, each as important as the others.
    """
    if metric.name == "F1":
        return _macro_f1(scores[:, 0].ravel(), scores[:, 1].ravel())
    mean = float(scores.mean())
    return mean**0.5 if metric.name == "Rmse" else mean


def drop(metric: MetricRun, baseline: Scores, candidate: Scores) -> float:
    """How much worse the candidate is, in units of the metric; negative where it is better."""
    loss = accuracy(metric, baseline) - accuracy(metric, candidate)
    return -loss if metric.lower_is_better else loss


def drop_interval(metric: MetricRun, baseline: Scores, candidate: Scores, seed: int) -> Interval:
    """The 95 % interval of the drop, by a paired bootstrap over samples."""
    return bootstrap(lambda chosen: drop(metric, baseline[chosen], candidate[chosen]), len(baseline), seed)


def _macro_f1(answered: Scores, right: Scores) -> float:
    """2 tp / (2 tp + fp + fn) for each class, and the mean of that (van Rijsbergen 1979, chapter 7)."""
    _, codes = np.unique(np.concatenate([answered, right]), return_inverse=True)
    given, true = codes[: answered.size], codes[answered.size :]
    classes = int(codes.max()) + 1
    hits = np.bincount(true[given == true], minlength=classes)
    totals = np.bincount(given, minlength=classes) + np.bincount(true, minlength=classes)
    return float((2 * hits / totals).mean())
