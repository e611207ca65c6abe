"""What one client of HTTP/2 may do, and what it did of what is limited. Pure: times are passed in."""

from dataclasses import dataclass

from modelyard_server import http2_frames as frames
from modelyard_server.http2_frames import Code, Http2Error

_REMEMBERED = 256
"""Streams of which it is known how they ended."""


@dataclass(frozen=True)
class SessionLimits:
    """Sizes in bytes."""

    streams: int = 1000
    """Requests at once."""
    fields: int = 32 * 1024
    """Of a header list; twice as much ends the connection."""
    continuations: int = 32
    """Frames after the first for one header block."""
    stream_window: int = 4 * 1024 * 1024
    connection_window: int = 16 * 1024 * 1024
    resets: int = 10_000
    """Streams that break or are reset, at once and again in ten seconds (CVE-2023-44487)."""
    idle_frames: int = 1000
    """Frames without a use between two requests, or in ten seconds."""

    def greeting(self) -> bytes:
        """What the server sends first."""
        return frames.settings(
            (frames.MAX_CONCURRENT_STREAMS, self.streams),
            (frames.INITIAL_WINDOW_SIZE, self.stream_window),
            (frames.MAX_HEADER_LIST_SIZE, self.fields),
        ) + frames.window_update(0, self.connection_window - frames.WINDOW_BYTES)


class Budget:
    """``most`` at once, and as many again in ten seconds (a token bucket)."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._left = self._most
        self._at = 0.0

    def spend(self, now: float) -> None:
        """Take one; raises Http2Error when none is left."""
        self._left = min(self._most, self._left + (now - self._at) * self._most / 10)
        self._at = now
        if self._left < 1:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
        self._left -= 1

    def restore(self) -> None:
        """Give back all."""
        self._left = self._most


class EndedStreams:
    """The streams that ended last."""

    def __init__(self) -> None:
        self._ours: dict[int, bool] = {}

    def add(self, number: int, *, ours: bool) -> None:
        """Note an end; ``ours``: we brought it about, or ignore the stream, so that the client may not know it yet."""
        self._ours[number] = ours
        if len(self._ours) > _REMEMBERED:
            del self._ours[next(iter(self._ours))]

    def ours(self, number: int) -> bool | None:
        """What was noted; None for a stream that never was, or long ago."""
        return self._ours.get(number)

    def check(self, number: int) -> None:
        """Raise Http2Error for HEADERS of such a stream, unless the client may not know that it has ended."""
        ours = self._ours.get(number)
        if ours is None:
            raise Http2Error(Code.PROTOCOL_ERROR, "a stream's number is not higher than those before")
        if not ours:
            raise Http2Error(Code.STREAM_CLOSED, "HEADERS of a stream that has ended")


class HeaderBlock:
    """A header block as it arrives: HEADERS and the CONTINUATION frames after it (section 6.10)."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._pieces: list[bytes] = []
        self._size = 0
        self.stream = 0
        """The stream that it is of; 0 while none is incomplete."""
        self.ends = False
        """Whether its request ends with it."""

    def start(self, stream: int, piece: bytes, *, ends: bool) -> None:
        """Begin with the piece of HEADERS."""
        self.stream = stream
        self.ends = ends
        self._pieces = [piece]
        self._size = len(piece)

    def add(self, piece: bytes) -> None:
        """Take a CONTINUATION. Raises Http2Error."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > 2 * self._limits.fields or len(self._pieces) > self._limits.continuations + 1:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "the header fields are too large")

    def whole(self) -> bytes:
        """The block; it is no longer incomplete."""
        self.stream = 0
        return b"".join(self._pieces)
