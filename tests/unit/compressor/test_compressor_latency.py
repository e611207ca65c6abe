"""Latency figures from samples."""

import numpy as np
import pytest

from modelyard_compressor.intervals import Interval, bootstrap
from modelyard_compressor.latency import Milliseconds, speedup, summarise
from modelyard_compressor.throttling import parse_throttled


def test_percentiles_are_interpolated() -> None:
    latency = summarise(np.arange(1.0, 101.0), batch_size=4, calls=2)

    assert (latency.batch_size, latency.calls_per_sample) == (4, 2)
    assert latency.p50_milliseconds == pytest.approx(50.5)
    assert latency.p99_milliseconds == pytest.approx(99.01)
    assert latency.variation == pytest.approx(0.5716, abs=1e-4)


def test_a_speedup_is_the_ratio_of_medians() -> None:
    baseline = np.array([4.0, 4, 4, 100])

    assert speedup(baseline, baseline / 2, batch_size=1, seed=0).value == 2


def test_noise_that_hits_both_alike_leaves_the_speedup_certain() -> None:
    noise = np.random.default_rng(0).uniform(1, 10, 200)

    assert speedup(4 * noise, 2 * noise, batch_size=1, seed=0).interval == Interval(low=2, high=2)


def test_a_bootstrap_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(0, 1, (20, 40))

    def covers(row: Milliseconds) -> bool:
        interval = bootstrap(lambda chosen: float(row[chosen].mean()), len(row), seed=0)
        return interval.low <= 0 <= interval.high

    assert 0.85 <= sum(covers(row) for row in samples) / len(samples) <= 1


def test_throttling_is_read_from_cpu_stat() -> None:
    assert parse_throttled("usage_usec 10\nnr_periods 7\nnr_throttled 3\nthrottled_usec 12\n") == 3
    assert parse_throttled("usage_usec 10\n") is None
