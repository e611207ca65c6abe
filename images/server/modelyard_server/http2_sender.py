"""What a server sends on one HTTP/2 connection, as far as the client's windows allow. Pure.

Source: RFC 9113, section 5.2 and 6.9 for windows. Streams that wait take turns, a frame each.
"""

from collections import deque
from collections.abc import Callable, Iterable

from modelyard_server.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEAD,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST,
    MAX_FRAME_SIZE,
    WINDOW_BYTES,
    Code,
    Http2Error,
    frame,
)
from modelyard_server.http2_stream import Stream
from modelyard_server.http_messages import Part

_LAST = END_HEADERS | END_STREAM


class Sender:
    """Frames that are ready, and streams whose data waits. ``ended`` is told of answers that are complete."""

    def __init__(self, ended: Callable[[Stream], None], now: Callable[[], float]) -> None:
        self._ended = ended
        self._now = now
        self._waiting: deque[Stream] = deque()
        self.out: list[Part] = []
        self.window = WINDOW_BYTES
        self.initial = WINDOW_BYTES
        """The window that a new stream has."""
        self.frame_bytes = FRAME_BYTES
        self.waiting_bytes = 0
        """DATA that waits for windows."""

    def send(self, stream: Stream, head: bytes, body: bytes, trailers: bytes) -> None:
        """Send a header block, DATA, and the header block that ends the answer; what is empty is left out."""
        number, size = stream.number, len(body)
        if not stream.rest and (size == 0 or size <= min(FRAME_BYTES, self.window, stream.window)):
            out = self.out
            if head:
                out.append(HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, number))
                out.append(head)
            if body:
                out.append(HEAD.pack(size << 8 | DATA, 0, number))
                out.append(body)
                self.window -= size
                stream.window -= size
            if trailers:
                out.append(HEAD.pack(len(trailers) << 8 | HEADERS, _LAST, number))
                out.append(trailers)
                self._ended(stream)
            return
        if head:
            self.out.append(frame(HEADERS, END_HEADERS, number, head))
        stream.rest = memoryview(b"".join((stream.rest, body)) if stream.rest else body)
        stream.trailers = trailers
        stream.since = self._now()
        self.waiting_bytes += size
        self._queue(stream)

    def take(self, most: int) -> list[Part]:
        """What is to be written now: all frames that are ready, and with them about ``most`` bytes."""
        out, self.out = self.out, []
        if not self._waiting:
            return out
        size = sum(map(len, out))
        while size < most and self.window > 0 and self._waiting:
            stream = self._waiting.popleft()
            stream.queued = False
            count = min(len(stream.rest), stream.window, self.window, self.frame_bytes)
            if count <= 0:
                continue
            out.append(HEAD.pack(count << 8 | DATA, 0, stream.number))
            out.append(stream.rest[:count])
            size += count
            stream.rest = stream.rest[count:]
            stream.since = self._now()
            stream.window -= count
            self.window -= count
            self.waiting_bytes -= count
            if stream.rest:
                self._queue(stream)
            elif stream.trailers:
                out.append(frame(HEADERS, _LAST, stream.number, stream.trailers))
                self._ended(stream)
        return out

    @property
    def ready(self) -> bool:
        """Whether ``take`` has something."""
        return bool(self.out) or (self.window > 0 and bool(self._waiting))

    def drop(self, stream: Stream) -> None:
        """Send nothing more of a stream."""
        self.waiting_bytes -= len(stream.rest)
        stream.rest = memoryview(b"")
        stream.trailers = b""

    def widen(self, increment: int) -> None:
        """Enlarge the connection's window. Raises Http2Error."""
        if increment == 0:
            raise Http2Error(Code.PROTOCOL_ERROR, "a window grows by nothing")
        self.window += increment
        if self.window > LARGEST:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "the connection's window is too large")

    def widen_stream(self, stream: Stream, increment: int) -> bool:
        """Enlarge a stream's window; False when it is too large then."""
        stream.window += increment
        if stream.rest and stream.window > 0:
            self._queue(stream)
        return stream.window <= LARGEST

    def settle(self, settings: Iterable[tuple[int, int]], streams: Iterable[Stream]) -> None:
        """Obey the client's settings. Raises Http2Error."""
        for name, value in settings:
            if name == INITIAL_WINDOW_SIZE:
                self._start_with(value, streams)
            elif name == MAX_FRAME_SIZE:
                self.frame_bytes = value

    def _start_with(self, initial: int, streams: Iterable[Stream]) -> None:
        """Set the window that streams begin with, also of those that there are (section 6.9.2)."""
        change, self.initial = initial - self.initial, initial
        for stream in streams:
            if not self.widen_stream(stream, change):
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")

    def _queue(self, stream: Stream) -> None:
        if not stream.queued:
            stream.queued = True
            self._waiting.append(stream)
