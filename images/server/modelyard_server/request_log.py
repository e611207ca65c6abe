"""A sample of the requests in the server's log: at most a line a second for each way to end. Never what was sent."""

import logging
from collections.abc import Callable
from typing import Literal

from modelyard_server.metrics import Protocol

log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0


class RequestLog:
    """Writes the first request of each second to ``write``, and how many there were since the line before."""

    def __init__(self, write: Callable[..., None] = log.info) -> None:
        self._write = write
        self._due: dict[Literal["answered", "failed"], float] = {"answered": 0.0, "failed": 0.0}
        self._since = {"answered": 0, "failed": 0}

    def note(self, protocol: Protocol, code: int, start: float, end: float) -> None:
        """One request, from ``start`` to ``end`` in seconds of ``time.perf_counter``; ``code`` is HTTP's."""
        kind: Literal["answered", "failed"] = "answered" if code == 200 else "failed"
        self._since[kind] += 1
        if end < self._due[kind]:
            return
        self._write("%s: %d after %.2f ms; %d %s", protocol, code, 1000 * (end - start), self._since[kind], kind)
        self._due[kind] = end + _EVERY_SECONDS
        self._since[kind] = 0
