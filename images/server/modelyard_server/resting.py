"""Clients that were told to try again later: nothing more is read from them until there is room, or the time is up.

Where model and server share a core, to refuse a request costs about as much as to read one, and who asks again at once
in spite of Retry-After would take that time from the requests that are answered.
"""

from collections import deque
from collections.abc import Callable

REST_SECONDS = 0.5
"""Less than Retry-After says, since a proxy's next client may come by the same connection."""

Resume = Callable[[], None]


class RestingClients:
    """Those who wait, first come first. ``later`` calls a function after so many seconds."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object], now: Callable[[], float]) -> None:
        self._later = later
        self._now = now
        self._clients: deque[tuple[float, Resume]] = deque()
        self._timed = False
        """Whether ``_wake_due`` will be called."""

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, resume: Resume) -> None:
        """Have ``resume`` called once: by ``wake``, or after ``REST_SECONDS``."""
        self._clients.append((self._now() + REST_SECONDS, resume))
        self._set_timer()

    def wake(self, count: int) -> None:
        """Read again from those ``count`` who wait longest."""
        for _ in range(min(count, len(self._clients))):
            _, resume = self._clients.popleft()
            resume()

    def _set_timer(self) -> None:
        if self._clients and not self._timed:
            self._timed = True
            self._later(self._clients[0][0] - self._now(), self._wake_due)

    def _wake_due(self) -> None:
        self._timed = False
        now = self._now()
        while self._clients and self._clients[0][0] <= now:
            self.wake(1)
        self._set_timer()
