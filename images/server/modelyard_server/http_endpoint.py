"""What all connections of a server share: the handler, the limits, one read buffer, the clock and the date."""

import asyncio
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Generic, Protocol, TypeVar

from modelyard_server.http_messages import Limits
from modelyard_server.security import Tls, Token

BACKLOG = 1024
"""Connections that wait to be accepted; the kernel may have a lower limit. One more is tried again after a second."""
READ_BYTES = 256 * 1024
_HEAD_BYTES = 4096
"""What the head of a request with a long body fits into, as a rule."""
_SWEEP_SECONDS = 0.5

H = TypeVar("H")


class Timed(Protocol):
    """A connection as its endpoint sees it."""

    deadline: float

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        ...

    def expire(self) -> None:
        """The deadline has passed."""
        ...

    def close(self) -> None:
        """End, when what was written is sent."""
        ...


class Endpoint(Generic[H]):
    """The connections that there are, and what they share."""

    def __init__(self, handler: H, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self.handler = handler
        self.limits = limits
        self.now = now
        self.buffer = memoryview(bytearray(READ_BYTES))
        """Used by one connection at a time, and only between two calls of the transport."""
        self.start_of_buffer = self.buffer[:_HEAD_BYTES]
        self.date = date_line(time.time())
        self.connections: set[Timed] = set()

    def add(self, connection: Timed) -> bool:
        """Note a new connection; False if it is one too many."""
        self.connections.add(connection)
        return len(self.connections) <= self.limits.connections

    def remove(self, connection: Timed) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def sweep(self, wall: float) -> None:
        """Expire what is due, and set the date to ``wall`` (seconds since 1970). Call it about once a second."""
        self.date = date_line(wall)
        now = self.now()
        for connection in [each for each in self.connections if each.deadline <= now]:
            connection.expire()

    def close_idle(self) -> None:
        """Close the connections on which nothing happens."""
        for connection in [each for each in self.connections if each.idle]:
            connection.close()


async def swept(endpoint: Endpoint[H], files: Sequence[Tls | Token]) -> None:
    """Keep the connections' time, and follow the files, until cancelled."""
    while True:
        endpoint.sweep(time.time())
        for file in files:
            file.refresh()
        await asyncio.sleep(_SWEEP_SECONDS)


def date_line(wall: float) -> bytes:
    """The Date field for a time in seconds since 1970 (RFC 9110, section 6.6.1)."""
    return b"date: %b\r\n" % formatdate(wall, usegmt=True).encode()
