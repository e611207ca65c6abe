"""How long does one call take, and how much faster is a candidate? Measured interleaved, so noise hits all alike."""

import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from modelyard.contract.base import Document
from modelyard_compressor.intervals import Interval, bootstrap
from modelyard_compressor.sessions import Feed, Model

_WARM_UP = 20
_ROUNDS = 200
_FEWEST_ROUNDS = 20
_SHORTEST_SAMPLE_SECONDS = 0.0005
"""A shorter sample would measure the clock and the scheduler rather than the model."""
_MOST_CALLS = 50

NOISY = 0.1
"""A coefficient of variation of the baseline above which a comparison is marked noisy."""

Milliseconds = npt.NDArray[np.float64]


class Latency(Document):
    """How long one call with one batch takes."""

    batch_size: int
    calls_per_sample: int
    """A sample is the mean over so many calls in a row: more than one for models that are fast."""
    samples_milliseconds: list[float]
    p50_milliseconds: float
    p99_milliseconds: float
    variation: float
    """Standard deviation over mean."""


class Speedup(Document):
    """Median latency of the baseline over the candidate's."""

    batch_size: int
    value: float
    interval: Interval


def measure(models: Sequence[Model], feed: Feed, budget_seconds: float) -> tuple[Milliseconds, int]:
    """Time the models in turns: samples of shape (models, rounds), and how many calls each sample averages.

    200 rounds after 20 warm-up calls, fewer (but 20) where the budget runs out. Every round starts with another model.
    """
    deadline = time.perf_counter() + budget_seconds
    fastest = math.inf
    for model in models:
        for _ in range(_WARM_UP):
            fastest = min(fastest, _seconds(model, feed, 1))
    calls = min(_MOST_CALLS, math.ceil(_SHORTEST_SAMPLE_SECONDS / fastest))
    rounds: list[list[float]] = []
    while len(rounds) < _ROUNDS and (len(rounds) < _FEWEST_ROUNDS or time.perf_counter() < deadline):
        samples = [0.0] * len(models)
        for turn in range(len(models)):
            index = (turn + len(rounds)) % len(models)
            samples[index] = _seconds(models[index], feed, calls) / calls * 1000
        rounds.append(samples)
    return np.array(rounds).T, calls


def summarise(samples: Milliseconds, batch_size: int, calls: int) -> Latency:
    """The figures of one model's samples, in milliseconds."""
    p50, p99 = np.percentile(samples, [50, 99])
    return Latency(
        batch_size=batch_size,
        calls_per_sample=calls,
        samples_milliseconds=[round(float(sample), 6) for sample in samples],
        p50_milliseconds=float(p50),
        p99_milliseconds=float(p99),
        variation=float(samples.std() / samples.mean()),
    )


def speedup(baseline: Milliseconds, candidate: Milliseconds, batch_size: int, seed: int) -> Speedup:
    """The ratio of medians, with the interval of a bootstrap over rounds."""

    def ratio(chosen: npt.NDArray[np.int64]) -> float:
        return float(np.median(baseline[chosen]) / np.median(candidate[chosen]))

    return Speedup(
        batch_size=batch_size,
        value=ratio(np.arange(len(baseline))),
        interval=bootstrap(ratio, len(baseline), seed),
    )


def _seconds(model: Model, feed: Feed, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        model.predict(feed)
    return time.perf_counter() - start
