"""How sure is a figure? A bootstrap interval says."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from modelyard.contract.base import Document

_RESAMPLES = 1000


class Interval(Document):
    """The 95 % confidence interval of a figure."""

    low: float
    high: float


def bootstrap(statistic: Callable[[npt.NDArray[np.int64]], float], size: int, seed: int) -> Interval:
    """The percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13) of ``statistic``.

    ``statistic`` maps indices into ``size`` observations, drawn with replacement, to the figure. Pairs stay pairs
    where it indexes two series with the same indices.
    """
    random = np.random.default_rng(seed)
    values = [statistic(random.integers(size, size=size)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))
