"""Where batches run: on the event loop between two rounds of input, or in threads of their own.

A batch leaves when a place to run is free and is as large as the queue allows then. There is no timer to wait for
unless a delay is asked for.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from modelyard_server.batch_queue import BatchQueue, Job
from modelyard_server.batch_run import BatchRunner, Outcome, Run
from modelyard_server.errors import RequestError

Observe = Callable[[Sequence[Job], float], None]
"""Told of each run: its jobs, and the seconds that it took."""


class Batcher(Protocol):
    """Takes jobs on the event loop, and calls their ``done`` there."""

    def submit(self, job: Job) -> None:
        """Queue a job. Raises RequestError (503) when the queue is full."""
        ...

    def cancel(self, job: Job) -> None:
        """Drop a job that still waits; ``done`` is not called then."""
        ...

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        ...

    def close(self) -> None:
        """End the threads once their present batch is done. Jobs that wait stay unanswered."""
        ...


class InlineBatcher:
    """Runs batches on the event loop: for models that take less time than waking a thread does."""

    def __init__(self, run: Run, rows: int, delay: float, queue: BatchQueue, observe: Observe) -> None:
        self._loop = asyncio.get_running_loop()
        self._runner = BatchRunner(run, rows)
        self._rows = rows
        self._delay = delay
        self._queue = queue
        self._observe = observe
        self._scheduled: asyncio.Handle | None = None

    def submit(self, job: Job) -> None:
        """Queue a job; it runs when the loop has read what every connection had to say."""
        now = time.perf_counter()
        self._queue.add(job, now)
        if self._scheduled is None:
            self._schedule(now)

    def cancel(self, job: Job) -> None:
        """Drop a job that still waits."""
        self._queue.discard(job)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def close(self) -> None:
        """Run nothing more."""
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _schedule(self, now: float) -> None:
        wait = self._queue.due(self._rows, self._delay) - now if self._delay else 0.0
        if wait > 0:
            self._scheduled = self._loop.call_later(wait, self._step)
        else:
            self._scheduled = self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = None
        now = time.perf_counter()
        if self._delay and self._queue.due(self._rows, self._delay) > now + 1e-4:
            self._schedule(now)
            return
        batch, late = self._queue.take(self._rows, now)
        refuse_late(late)
        if batch:
            for job in batch:
                job.started = now
            outcomes = self._runner(batch)
            seconds = time.perf_counter() - now
            self._observe(batch, seconds)
            finish(batch, outcomes)
        if len(self._queue) and self._scheduled is None:
            self._schedule(time.perf_counter())


class ThreadedBatcher:
    """Runs batches in ``threads`` threads, each of which takes the next batch itself when it is done with one."""

    def __init__(self, run: Run, rows: int, delay: float, threads: int, queue: BatchQueue, observe: Observe) -> None:
        self._loop = asyncio.get_running_loop()
        self._rows = rows
        self._delay = delay
        self._queue = queue
        self._observe = observe
        self._changed = threading.Condition(threading.Lock())
        self._idle = 0
        self._closed = False
        for number in range(threads):
            name = f"inference-{number}"
            threading.Thread(target=self._work, args=(BatchRunner(run, rows),), name=name, daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job, and wake a thread if one waits."""
        with self._changed:
            self._queue.add(job, time.perf_counter())
            if self._idle:
                self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Drop a job that still waits."""
        with self._changed:
            self._queue.discard(job)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def close(self) -> None:
        """End the threads once their present batch is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self, runner: BatchRunner) -> None:
        while (taken := self._next()) is not None:
            batch, late = taken
            start = time.perf_counter()
            for job in batch:
                job.started = start
            outcomes: Sequence[Outcome] = runner(batch) if batch else ()
            seconds = time.perf_counter() - start
            try:
                self._loop.call_soon_threadsafe(self._finish, batch, outcomes, seconds, late)
            except RuntimeError:  # the loop has ended, and with it everybody who waited
                return

    def _next(self) -> tuple[list[Job], list[Job]] | None:
        """The next batch, waited for, and the jobs that are too late for it. None: the batcher is closed."""
        with self._changed:
            while not self._closed:
                now = time.perf_counter()
                due = self._queue.due(self._rows, self._delay)
                if due <= now:
                    return self._queue.take(self._rows, now)
                self._idle += 1
                self._changed.wait(None if math.isinf(due) else due - now)
                self._idle -= 1
        return None

    def _finish(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float, late: Sequence[Job]) -> None:
        if batch:
            self._observe(batch, seconds)
        finish(batch, outcomes)
        refuse_late(late)


def finish(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Tell each job its outcome."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        job.done(job, outcome)


def refuse_late(jobs: Sequence[Job]) -> None:
    """Tell each job that its deadline passed while it waited."""
    for job in jobs:
        job.done(job, RequestError("the deadline of this request passed before its turn came", 504))
