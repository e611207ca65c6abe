"""How far the training is: pace, time left, and the report that the operator reads."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import SupportsFloat

from modelyard.contract.decimals import decimal
from modelyard.contract.reports import CheckpointReport, ProgressReport
from modelyard.contract.runs import Objective
from modelyard_trainer.console import say
from modelyard_trainer.pace import Position, better, eta_seconds

_WRITE_SECONDS = 0.2
_PRINT_SECONDS = 5.0


class Progress:
    """Turns the reports of rank 0 into files, at most five a second, and into lines, one every five seconds.

    The pace counts from the first report of this process, so a restart does not distort it. A metric keeps its last
    value until it is reported again, and becomes a number only when written, since reading one from a GPU waits for it.
    """

    def __init__(
        self,
        write: Callable[[ProgressReport], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        earlier: ProgressReport | None = None,
        objective: Objective | None = None,
        world_size: int | None = None,
    ) -> None:
        """``earlier`` is what the same attempt has reported so far, of which metrics and checkpoint are kept."""
        self._write = write
        self._clock = clock
        self._base = earlier or ProgressReport(stage="Training", time="")
        self._objective = objective
        self._world_size = world_size
        self._best = None if self._base.best is None else float(self._base.best)
        self._resumed_step: int | None = None
        self._stage = "Training"
        self._start: Position | None = None
        self._now: Position | None = None
        self._total_steps: int | None = None
        self._metrics: dict[str, SupportsFloat] = {}
        self._checkpoint = self._base.checkpoint
        self._failure: str | None = None
        self._lock = threading.RLock()  # a thread commits checkpoints
        self._written = self._printed = -math.inf
        self._unwritten = self._unprinted = False

    def report(self, step: int, total_steps: int | None, metrics: Mapping[str, SupportsFloat]) -> None:
        """Take note of ``step`` steps done. A metric that is not a finite number is printed but not written."""
        with self._lock:
            self._report(step, total_steps, metrics)

    def _report(self, step: int, total_steps: int | None, metrics: Mapping[str, SupportsFloat]) -> None:
        self._now = Position(step, self._clock())
        self._start = self._start or self._now
        self._total_steps = total_steps
        self._metrics |= metrics
        self._take_best(metrics)
        self._unwritten = self._unprinted = True
        if self._now.time - self._written >= _WRITE_SECONDS:
            self._write_now()
        if self._now.time - self._printed >= _PRINT_SECONDS:
            self._print_now()

    @property
    def best(self) -> float | None:
        """The best value of the objective's metric so far."""
        return self._best

    def metrics(self) -> dict[str, float]:
        """The newest finite value of each metric."""
        numbers = {name: float(value) for name, value in self._metrics.items()}
        return {name: number for name, number in numbers.items() if math.isfinite(number)}

    def resumed(self, step: int, best: float | None = None) -> None:
        """Take note of where the training goes on: after ``step``, 0 for the beginning, and the best so far there."""
        self._resumed_step = step
        if best is not None:
            self._best = better(self._objective, self._best, best)
        self._write_now()

    def _take_best(self, metrics: Mapping[str, SupportsFloat]) -> None:
        if self._objective is None or self._objective.metric not in metrics:
            return
        value = float(metrics[self._objective.metric])
        if math.isfinite(value):
            self._best = better(self._objective, self._best, value)

    def committed(self, checkpoint: CheckpointReport) -> None:
        """Write at once that a checkpoint is committed."""
        with self._lock:
            self._checkpoint, self._failure = checkpoint, None
            self._write_now()

    def not_stored(self, failure: str) -> None:
        """Write at once that a checkpoint could not be stored, and why; it stands there until one is."""
        with self._lock:
            self._failure = failure
            self._write_now()

    def objective(self) -> float | None:
        """The newest value of the objective's metric."""
        return None if self._objective is None else self.metrics().get(self._objective.metric)

    def stage(self, stage: str) -> None:
        """Write and print what the limits have held back, and at once that another stage has begun."""
        with self._lock:
            self.close()
            self._stage = stage
            self._write_now()

    def close(self) -> None:
        """Write and print what the limits have held back."""
        with self._lock:
            if self._unwritten:
                self._write_now()
            if self._unprinted:
                self._print_now()

    def _write_now(self) -> None:
        began = self._now is not None
        changed: dict[str, object] = {
            "stage": self._stage if began or self._stage != "Training" else self._base.stage,
            "step": self._now.step if self._now is not None else self._resumed_step or self._base.step,
            "total_steps": self._total_steps if began else self._base.total_steps,
            "eta_seconds": self._eta(),
            "metrics": self._base.metrics | {name: decimal(value) for name, value in self.metrics().items()},
            "best": None if self._best is None else decimal(self._best),
            "world_size": self._world_size,
            "resumed_step": self._resumed_step if self._resumed_step is not None or not began else 0,
            "checkpoint": self._checkpoint,
            "checkpoint_failure": self._failure,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        self._write(self._base.model_copy(update=changed))
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
