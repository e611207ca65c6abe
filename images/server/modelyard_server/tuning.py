"""How to run this model here: on the event loop or in threads, how many, and how many rows at once.

Measured at start, within a few seconds. ``choose`` is pure; ``measure`` takes the times that it decides by.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from modelyard.contract.runs import BatchingRun
from modelyard_server.batch_queue import Job
from modelyard_server.batch_run import BatchRunner
from modelyard_server.session import FAILURES, Model
from modelyard_server.tensors import Tensor
from modelyard_server.warm_up import unlike_rows, zeros

MOST_ROWS = 64
"""Rows of one run that are tried at start."""
_INLINE_SECONDS = 200e-6
"""A run that takes less is done on the event loop: to wake a thread and be woken takes 50 to 100 us."""
_INLINE_BATCH_SECONDS = 1e-3
"""So long the event loop may stand still for one batch."""
_BATCH_SECONDS = 100e-3
"""So long one batch may take, because every request in it waits for the whole."""
_GAIN = 1.03
"""A larger batch must give so much more throughput than the one chosen so far."""
_MOST_PATIENCE_SECONDS = 500e-6
_BUDGET_SECONDS = 1.0
_TRY_SECONDS = 0.05

Mode = Literal["Inline", "Threads"]


@dataclass(frozen=True)
class Tuning:
    """The choice, as ``/v2/models/{model}/config``, the log and the metrics tell it."""

    mode: Mode
    instances: int
    """Runs of the model at once."""
    threads: int
    """Threads of each."""
    max_batch: int
    """Rows of one run for several requests; 1: requests share none."""
    microseconds: Mapping[int, float]
    """The shortest time of a run by its rows: other work on the machine only makes runs longer."""
    reason: str
    """Why this, in a few words."""

    @property
    def patience(self) -> float:
        """Seconds that a batch may wait for more to join it: a tenth of what a run of one row takes."""
        return min(_MOST_PATIENCE_SECONDS, 1e-7 * self.microseconds[min(self.microseconds)])

    def document(self) -> dict[str, object]:
        """The same as a JSON object."""
        return {**asdict(self), "microseconds": {str(rows): round(us, 1) for rows, us in self.microseconds.items()}}


def best_rows(seconds: Mapping[int, float], longest: float) -> int:
    """The rows of one run with the best throughput, the fewest of those that are nearly as good.

    ``seconds`` is the time of a run by its rows; longer runs than ``longest`` are no choice, except of one row.
    """
    best = min(seconds)
    for rows in sorted(seconds):
        if seconds[rows] <= longest and rows / seconds[rows] > _GAIN * best / seconds[best]:
            best = rows
    return best


def choose(
    seconds: Mapping[int, float], cpus: int, *, alone: bool, batching: BatchingRun, threads: int | None
) -> Tuning:
    """The choice for one thread a run. ``alone`` says that rows do not depend on each other; fixed values are taken."""
    inline = seconds[min(seconds)] <= _INLINE_SECONDS and threads in (None, 1)
    mode: Mode = "Inline" if inline else "Threads"
    if batching.mode == "Off":
        rows, reason = 1, "batching is off"
    elif not alone:
        rows, reason = 1, "no batching: the rows of this model are not known to be independent"
    elif batching.max_batch_size is not None:
        rows, reason = batching.max_batch_size, "batch size as asked for"
    else:
        rows = best_rows(seconds, _INLINE_BATCH_SECONDS if inline else _BATCH_SECONDS)
        reason = "measured"
    per_run = threads or 1
    instances = 1 if inline else max(1, cpus // per_run)
    return Tuning(mode, instances, per_run, rows, {n: s * 1e6 for n, s in seconds.items()}, reason)


def measure(model: Model, *, batched: bool, most: int = MOST_ROWS) -> dict[int, float]:
    """The shortest seconds of a run by its rows: 1, 2, 4 … while that gains throughput and time is left.

    The rows come as so many requests, and to put them side by side counts: for large rows it takes longer than a batch
    saves.
    """
    found: dict[int, float] = {}
    stop = time.perf_counter() + _BUDGET_SECONDS
    rows = 1
    while True:
        seconds = _shortest(model, rows, min(_TRY_SECONDS, max(0.0, stop - time.perf_counter())))
        if seconds is None:
            break
        found[rows] = seconds
        worse = rows > 4 and rows / seconds < 0.9 * max(each / time for each, time in found.items())
        rows *= 2
        if not batched or rows > most or worse or seconds > _BATCH_SECONDS or time.perf_counter() > stop:
            break
    return found


def _shortest(model: Model, rows: int, budget: float) -> float | None:
    names = [spec.name for spec in model.signature.outputs]
    try:
        inputs = unlike_rows(model.signature.inputs, rows)
        model.run(inputs, names)
    except FAILURES:
        inputs = zeros(model.signature.inputs, rows)
        try:
            model.run(inputs, names)
        except FAILURES:
            return None
    runner = BatchRunner(model.run, rows)
    parts: list[dict[str, Tensor]] = [inputs]  # of a model without rows, too
    if rows > 1:
        parts = [{name: tensor[row : row + 1] for name, tensor in inputs.items()} for row in range(rows)]
    jobs = [Job(part, names, 1, lambda *_: None) for part in parts]
    times: list[float] = []
    stop = time.perf_counter() + budget
    while len(times) < 3 or (time.perf_counter() < stop and len(times) < 200):
        start = time.perf_counter()
        runner(jobs)
        times.append(time.perf_counter() - start)
    return min(times)


def throughput(model: Model, rows: int, instances: int, seconds: float = 0.2) -> float:
    """Rows a second when ``instances`` threads run the model at once."""
    names = [spec.name for spec in model.signature.outputs]
    inputs = unlike_rows(model.signature.inputs, rows)
    counts = [0] * instances
    stop = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < stop:
            model.run(inputs, names)
            counts[number] += rows

    start = time.perf_counter()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(instances)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)


def side_by_side_or_together(
    single: Model, load: Callable[[int], Model], tuning: Tuning, cpus: int
) -> tuple[Model, Tuning]:
    """One thread for each of ``cpus`` runs, or all for one run, whichever has the better throughput here.

    Loads the model a second time, and keeps one of the two.
    """
    together = load(cpus)
    rates: Sequence[float] = (throughput(single, tuning.max_batch, cpus), throughput(together, tuning.max_batch, 1))
    figures = f"{cpus} runs of one thread: {rates[0]:.0f} rows/s, one run of {cpus} threads: {rates[1]:.0f}"
    if rates[0] >= rates[1]:
        return single, Tuning(**{**asdict(tuning), "instances": cpus, "reason": f"{tuning.reason}; {figures}"})
    return together, Tuning(
        **{**asdict(tuning), "instances": 1, "threads": cpus, "reason": f"{tuning.reason}; {figures}"}
    )
