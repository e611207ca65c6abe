"""Figures of a training: the time that is left, and which of two values is the better one. Pure."""

import math
from dataclasses import dataclass

from modelyard.contract.runs import Objective


@dataclass(frozen=True)
class Position:
    """Where a training was at a time, in seconds of any steady clock."""

    step: int
    time: float


def eta_seconds(start: Position, now: Position, total_steps: int | None) -> int | None:
    """Seconds left at the mean pace since ``start``, rounded up; None before the second step, or without a total."""
    steps, seconds = now.step - start.step, now.time - start.time
    if total_steps is None or steps <= 0:
        return None
    return math.ceil(max(0, total_steps - now.step) * seconds / steps)


def better(objective: Objective | None, one: float | None, other: float) -> float:
    """The better of two values of the objective's metric; the other where there is no one."""
    if one is None:
        return other
    return min(one, other) if objective is not None and objective.goal == "Minimize" else max(one, other)
