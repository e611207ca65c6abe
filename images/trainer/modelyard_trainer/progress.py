"""How far the training is: pace, time left, and the report that the operator reads."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import SupportsFloat

from modelyard.contract.reports import CheckpointReport, ProgressReport, decimal
from modelyard_trainer.console import say

_WRITE_SECONDS = 0.2
_PRINT_SECONDS = 5.0


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


class Progress:
    """Turns the reports of rank 0 into files, at most five a second, and into lines, one every five seconds.

    The pace counts from the first report of this process, so a restart does not distort it. A metric keeps its last
    value until it is reported again, and becomes a number only when written, since reading one from a GPU waits for it.
    """

    def __init__(self, write: Callable[[ProgressReport], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._stage = "Training"
        self._start: Position | None = None
        self._now: Position | None = None
        self._total_steps: int | None = None
        self._metrics: dict[str, SupportsFloat] = {}
        self._checkpoint: CheckpointReport | None = None
        self._written = self._printed = -math.inf
        self._unwritten = self._unprinted = False

    def report(self, step: int, total_steps: int | None, metrics: Mapping[str, SupportsFloat]) -> None:
        """Take note of ``step`` steps done. A metric that is not a finite number is printed but not written."""
        self._now = Position(step, self._clock())
        self._start = self._start or self._now
        self._total_steps = total_steps
        self._metrics |= metrics
        self._unwritten = self._unprinted = True
        if self._now.time - self._written >= _WRITE_SECONDS:
            self._write_now()
        if self._now.time - self._printed >= _PRINT_SECONDS:
            self._print_now()

    def committed(self, checkpoint: CheckpointReport) -> None:
        """Write at once that a checkpoint is committed."""
        self._checkpoint = checkpoint
        self._write_now()

    def stage(self, stage: str) -> None:
        """Write and print what the limits have held back, and at once that another stage has begun."""
        self.close()
        self._stage = stage
        self._write_now()

    def close(self) -> None:
        """Write and print what the limits have held back."""
        if self._unwritten:
            self._write_now()
        if self._unprinted:
            self._print_now()

    def _write_now(self) -> None:
        numbers = {name: float(value) for name, value in self._metrics.items()}
        self._write(
            ProgressReport(
                stage=self._stage,
                step=0 if self._now is None else self._now.step,
                total_steps=self._total_steps,
                eta_seconds=self._eta(),
                metrics={name: decimal(number) for name, number in numbers.items() if math.isfinite(number)},
                checkpoint=self._checkpoint,
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
        )
        self._written, self._unwritten = self._clock(), False

    def _print_now(self) -> None:
        assert self._now is not None, "there is nothing to print before the first report"
        eta = self._eta()
        of_total = "" if self._total_steps is None else f"/{self._total_steps}"
        metrics = "".join(f"  {name} {float(value):.4g}" for name, value in self._metrics.items())
        left = "" if eta is None else f"  {eta} s left"
        say(f"step {self._now.step}{of_total}{metrics}{left}")
        self._printed, self._unprinted = self._clock(), False

    def _eta(self) -> int | None:
        if self._start is None or self._now is None:
            return None
        return eta_seconds(self._start, self._now, self._total_steps)
