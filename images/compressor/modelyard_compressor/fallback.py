"""Which nodes must stay in float for the accuracy gate to hold? The noisiest ones first, as few as it takes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """What was built, and how many of the ranked nodes it leaves in float."""

    built: T
    excluded: int


def fewest(
    ranking: Sequence[str], most: int, build: Callable[[Sequence[str]], T], holds: Callable[[T], bool]
) -> Found[T] | None:
    """Leave out 1, 2, 4 … nodes of ``ranking``, at most ``most``, until it ``holds``; then as few as still do.

    So at most 2 log2(most) + 1 builds. None where it holds with none of them.
    """
    limit = min(most, len(ranking))
    failing, count = 0, 1
    while count <= limit:
        built = build(ranking[:count])
        if holds(built):
            return _bisected(ranking, failing, Found(built, count), build, holds)
        failing = count
        count = limit if count < limit < 2 * count else 2 * count
    return None


def _bisected(
    ranking: Sequence[str],
    failing: int,
    found: Found[T],
    build: Callable[[Sequence[str]], T],
    holds: Callable[[T], bool],
) -> Found[T]:
    while found.excluded - failing > 1:
        middle = (failing + found.excluded) // 2
        built = build(ranking[:middle])
        if holds(built):
            found = Found(built, middle)
        else:
            failing = middle
    return found
