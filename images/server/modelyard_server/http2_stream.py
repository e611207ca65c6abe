"""One stream of an HTTP/2 connection: what of it may still be received and sent. Source: RFC 9113, section 5."""

from typing import Protocol


class Incoming(Protocol):
    """What takes the body of one request. May answer at any time; is told nothing after the stream's end."""

    until: float
    """When it wants to be told of the time."""

    def data(self, data: bytes | memoryview) -> None:
        """A piece of the body, which is good until this returns."""
        ...

    def end(self) -> None:
        """The body is complete."""
        ...

    def leave(self) -> None:
        """The client takes no answer, or the stream broke."""
        ...

    def expire(self) -> None:
        """``until`` has passed."""
        ...


class ReceiveWindow:
    """How much DATA the client may send: ``size`` at first, and again what was received (section 5.2)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size

    def take(self, count: int) -> bool:
        """Receive so many bytes; False when they are more than was allowed."""
        self._left -= count
        return self._left >= 0

    def refill(self) -> int:
        """The increment that is to be told to the client; 0 while it has half of the window left."""
        used = self._size - self._left
        if 2 * used < self._size:
            return 0
        self._left = self._size
        return used


class Stream:
    """A request and its answer."""

    def __init__(self, number: int, window: int, receives: int) -> None:
        self.number = number
        self.window = window
        """Bytes of DATA that the client takes; negative when it lowered its initial window."""
        self.receives = ReceiveWindow(receives)
        self.announced: int | None = None
        """Bytes of the body that its content-length leaves; None where there is none."""
        self.incoming: Incoming | None = None
        self.ended = False
        """Whether the client sends no more."""
        self.closed = False
        self.rest = memoryview(b"")
        """DATA that waits for a window."""
        self.trailers = b""
        """The header block that ends the answer, after ``rest``."""
        self.queued = False
        """Whether the sender will look at ``rest`` without being told."""
        self.since = 0.0
        """When ``rest`` last became shorter."""

    def announces(self, count: int, *, ended: bool) -> bool:
        """Whether so much more of the body agrees with its content-length (section 8.1.1)."""
        if self.announced is None:
            return True
        self.announced -= count
        return self.announced >= 0 and not (ended and self.announced)
