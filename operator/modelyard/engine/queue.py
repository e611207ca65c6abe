"""A work queue of keys: each key once, one worker a key, failures retried with backoff and jitter."""

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keys waiting for work. A key added while a worker has it is handed out again after ``done``.

    Not thread-safe; for one event loop. Follows client-go's workqueue.
    """

    def __init__(
        self,
        *,
        base_delay: float = 0.1,
        max_delay: float = 60.0,
        random_source: random.Random,
        queued: Callable[[Key], None] = lambda _: None,
        taken: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """``base_delay`` and ``max_delay`` in seconds bound the backoff of ``retry``.

        ``queued`` and ``taken`` are told each key that begins to wait for a worker, and that a worker gets.
        """
        self._queued = queued
        self._taken = taken
        self._ready: dict[Key, None] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._counter = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._random = random_source

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key) -> None:
        """Ask for work on ``key``; asking twice before it is handed out is asking once."""
        if key in self._working:
            self._again.add(key)
        else:
            if key not in self._ready:
                self._queued(key)
            self._ready[key] = None
            self._idle.clear()
            self._wake.set()

    async def idle(self) -> None:
        """Return once no key waits for work now and none is being worked on; delayed keys do not count."""
        await self._idle.wait()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for work on ``key`` after so many seconds; asking twice is asking for the earlier time."""
        due = asyncio.get_running_loop().time() + seconds
        if due >= self._due.get(key, math.inf):
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._delayed, (due, self._counter, key))
        self._wake.set()

    def retry(self, key: Key) -> float:
        """Ask again after a failure; returns the seconds until then, doubling with each failure in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._max_delay, self._base_delay * 2.0 ** min(failures, 32)) * self._random.uniform(0.5, 1.0)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """The work on ``key`` succeeded: its next failure starts with the base delay."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; nobody else gets it until ``done``."""
        while True:
            self._release_due()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._working.add(key)
                self._taken(key)
                return key
            self._wake.clear()
            with suppress(TimeoutError):
                # Not wait_for: on Python 3.11 that can swallow a cancellation.
                async with asyncio.timeout(self._seconds_until_due()):
                    await self._wake.wait()

    def done(self, key: Key) -> None:
        """The worker is finished with ``key``."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif not self._ready and not self._working:
            self._idle.set()

    def _seconds_until_due(self) -> float | None:
        if not self._delayed:
            return None
        return max(0.0, self._delayed[0][0] - asyncio.get_running_loop().time())

    def _release_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
