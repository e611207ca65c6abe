"""Scores, and how much of them is lost."""

import numpy as np
import pytest

from modelyard.contract.runs import MetricRun
from modelyard_compressor.accuracy import accuracy, drop, drop_interval, score
from modelyard_compressor.failures import CompressionError

LOGITS = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)


def test_top1_is_the_share_of_largest_outputs_at_the_label() -> None:
    scores = score(MetricRun(name="Top1"), LOGITS, np.array([1, 1, 1]))

    assert scores.tolist() == [1, 0, 1]
    assert accuracy(MetricRun(name="Top1"), scores) == pytest.approx(2 / 3)


def test_top1_of_tokens_is_a_share_within_each_sample() -> None:
    outputs = np.array([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], np.float32)

    assert score(MetricRun(name="Top1"), outputs, np.array([[1, 1], [1, 1]])).tolist() == [0.5, 1]


def test_f1_is_the_mean_over_classes_however_rare() -> None:
    outputs = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 0]]
    labels = np.array([0, 0, 0, 0, 1, 1])

    scores = score(MetricRun(name="F1"), outputs, labels)

    assert accuracy(MetricRun(name="F1"), scores) == pytest.approx((8 / 9 + 2 / 3) / 2)
    assert drop(
        MetricRun(name="F1"), score(MetricRun(name="F1"), np.eye(3, dtype=np.float32)[labels], labels), scores
    ) == pytest.approx(2 / 9)


def test_rmse_is_the_root_of_the_mean_square_over_samples() -> None:
    scores = score(MetricRun(name="Rmse"), np.array([[1.0], [5.0]]), np.array([1.0, 2.0]))

    assert scores.tolist() == [0, 9]
    assert accuracy(MetricRun(name="Rmse"), scores) == pytest.approx(4.5**0.5)


def test_cosine_compares_directions_and_gives_nothing_for_zeros() -> None:
    scores = score(
        MetricRun(name="Cosine"), np.array([[2.0, 0], [0, 0], [1, 1]]), np.array([[1.0, 0], [1, 0], [-1, -1]])
    )

    assert scores == pytest.approx([1, 0, -1])


@pytest.mark.parametrize(("metric", "labels"), [("Top1", np.zeros((3, 2))), ("Rmse", np.zeros(3))])
def test_labels_that_do_not_fit_are_refused(metric: str, labels: np.ndarray) -> None:
    with pytest.raises(CompressionError, match=r"spec.data.evaluation: labels of shape") as caught:
        score(MetricRun(name=metric), LOGITS, labels)
    assert caught.value.reason == "LabelsMismatch"


@pytest.mark.parametrize(
    ("metric", "baseline", "candidate", "lost"),
    [("Top1", [1, 1, 1, 0], [1, 1, 0, 0], 0.25), ("Rmse", [4, 4], [9, 9], 1), ("Cosine", [0.9], [0.95], -0.05)],
)
def test_a_drop_is_positive_where_the_candidate_is_worse(
    metric: str, baseline: list[float], candidate: list[float], lost: float
) -> None:
    assert drop(MetricRun(name=metric), np.array(baseline), np.array(candidate)) == pytest.approx(lost)


def test_pairs_make_the_interval_of_equal_models_a_point() -> None:
    scores = np.array([1.0, 0, 1, 1, 0])

    interval = drop_interval(MetricRun(name="Top1"), scores, scores, seed=0)

    assert (interval.low, interval.high) == (0, 0)


def test_the_interval_holds_the_drop_and_shrinks_with_samples() -> None:
    baseline, candidate = np.ones(100), np.array([0.0] * 10 + [1.0] * 90)
    few = drop_interval(MetricRun(name="Top1"), baseline, candidate, seed=0)
    many = drop_interval(MetricRun(name="Top1"), np.tile(baseline, 16), np.tile(candidate, 16), seed=0)

    assert few.low < 0.1 < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
