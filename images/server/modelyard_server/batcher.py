"""Where batches run: on the event loop between two rounds of input, or in threads of their own.

A batch leaves when a place to run is free and is as large as the queue allows then. No timer is waited for unless
a delay is asked for; in threads, clients that were just answered are given the moment that they need to ask again.
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
    """Takes jobs on the event loop, and calls their ``done`` there, at the earliest within ``submit``."""

    def check_room(self) -> None:
        """Raise OverloadError when ``submit`` would now."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job. Raises OverloadError when the queue is full."""
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

    def check_room(self) -> None:
        """Raise OverloadError when ``submit`` would now."""
        if self._delay:
            self._queue.check_room()

    def submit(self, job: Job) -> None:
        """Queue a job; it runs when the loop has read what every connection had to say.

        When the queue is full of jobs that wait only for that, a batch of them runs at once: to refuse a request would
        take as long as to answer it. A job that can share no run does so too, while its body is in the CPU's cache.
        """
        now = time.perf_counter()
        if self._queue.full and not self._delay:
            self._run_batch(now)
        self._queue.add(job, now)
        if self._rows == 1:
            self._run_batch(now)
        elif self._scheduled is None:
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
        self._run_batch(now)
        if len(self._queue) and self._scheduled is None:
            self._schedule(time.perf_counter())

    def _run_batch(self, now: float) -> None:
        batch, late = self._queue.take(self._rows, now)
        refuse_late(late)
        if batch:
            for job in batch:
                job.started = now
            outcomes = self._runner(batch)
            seconds = time.perf_counter() - now
            self._observe(batch, seconds)
            finish(batch, outcomes)


class ThreadedBatcher:
    """Runs batches in ``threads`` threads, each of which takes the next batch itself when it is done with one.

    Clients that have been answered are likely to ask again at once. So after a run for several of them a thread leaves
    what waits until as many have come again, or until the event loop has heard nothing new for ``patience`` seconds:
    otherwise those who ask together would be split into two batches that take turns. A full batch waits for nobody.
    """

    def __init__(
        self,
        run: Run,
        rows: int,
        delay: float,
        threads: int,
        queue: BatchQueue,
        observe: Observe,
        *,
        patience: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._rows = rows
        self._delay = delay
        self._queue = queue
        self._observe = observe
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: dict[threading.Condition, int] = {}
        """How each waiting thread is woken, and the number of jobs ever submitted from which on it wants to be."""
        self._submitted = 0
        self._quiet = 0.0
        """When the event loop last found that nobody comes again."""
        self._closed = False
        for number in range(threads):
            name = f"inference-{number}"
            threading.Thread(target=self._work, args=(BatchRunner(run, rows),), name=name, daemon=True).start()

    def check_room(self) -> None:
        """Raise OverloadError when ``submit`` would now."""
        self._queue.check_room()

    def submit(self, job: Job) -> None:
        """Queue a job, and wake a thread if one waits for it."""
        with self._lock:
            self._queue.add(job, time.perf_counter())
            self._submitted += 1
            self._wake_one()

    def cancel(self, job: Job) -> None:
        """Drop a job that still waits."""
        with self._lock:
            self._queue.discard(job)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def close(self) -> None:
        """End the threads once their present batch is done."""
        with self._lock:
            self._closed = True
            self._wake_all()

    def _wake_one(self) -> None:
        for thread, wanted in self._idle.items():
            if self._submitted >= wanted:
                thread.notify()
                del self._idle[thread]
                return

    def _wake_all(self) -> None:
        for thread in self._idle:
            thread.notify()
        self._idle.clear()

    def _work(self, runner: BatchRunner) -> None:
        thread = threading.Condition(self._lock)
        wanted, ended = 0, 0.0
        while (taken := self._next(thread, wanted, ended)) is not None:
            batch, late = taken
            start = time.perf_counter()
            for job in batch:
                job.started = start
            outcomes: Sequence[Outcome] = runner(batch) if batch else ()
            ended = time.perf_counter()
            seconds = ended - start
            wanted = self._expected(len(batch))
            try:
                self._loop.call_soon_threadsafe(self._finish, batch, outcomes, seconds, late, wanted)
            except RuntimeError:  # the loop has ended, and with it everybody who waited
                return

    def _expected(self, answered: int) -> int:
        """The number of jobs submitted when all that are answered now have asked again; 0 where none is waited for."""
        with self._lock:
            waiting = len(self._queue)
            if not self._patience or answered + waiting < 2:
                return 0
            return self._submitted + min(answered, max(0, self._rows - waiting))

    def _next(self, thread: threading.Condition, wanted: int, ended: float) -> tuple[list[Job], list[Job]] | None:
        """The next batch, waited for, and the jobs that are too late for it. None: the batcher is closed.

        ``ended`` is when the run before did, whose clients are ``wanted`` again.
        """
        with self._lock:
            while not self._closed:
                now = time.perf_counter()
                if self._submitted >= wanted or self._quiet > ended:
                    wanted = 0
                due = self._queue.due(self._rows, math.inf if wanted else self._delay)
                if due <= now:
                    return self._queue.take(self._rows, now)
                self._idle[thread] = wanted
                thread.wait(None if math.isinf(due) else due - now)
                self._idle.pop(thread, None)
        return None

    def _finish(
        self,
        batch: Sequence[Job],
        outcomes: Sequence[Outcome],
        seconds: float,
        late: Sequence[Job],
        wanted: int,
    ) -> None:
        try:
            if batch:
                self._observe(batch, seconds)
            finish(batch, outcomes)
            refuse_late(late)
        finally:
            if wanted:
                self._listen(wanted, self._submitted, time.perf_counter() + self._patience)

    def _listen(self, wanted: int, submitted: int, until: float) -> None:
        """Let the event loop read on until enough have come, or nobody has for a while."""
        now = time.perf_counter()
        if submitted != self._submitted:
            submitted, until = self._submitted, now + self._patience
        if submitted < wanted and now < until:
            self._loop.call_soon(self._listen, wanted, submitted, until)
            return
        with self._lock:
            self._quiet = now
            self._wake_all()


def finish(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Tell each job its outcome."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        job.done(job, outcome)


def refuse_late(jobs: Sequence[Job]) -> None:
    """Tell each job that its deadline passed while it waited."""
    for job in jobs:
        job.done(job, RequestError("the deadline of this request passed before its turn came", 504))
