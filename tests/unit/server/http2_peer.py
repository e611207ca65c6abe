"""A client's end of an HTTP/2 session without a network: frames in, frames out as short texts."""

from collections.abc import Sequence

from modelyard_server import http2_frames as frames
from modelyard_server.http2_fields import Fields, encoded
from modelyard_server.http2_frames import Code, frame
from modelyard_server.http2_limits import SessionLimits
from modelyard_server.http2_session import Session
from modelyard_server.http2_stream import Stream
from modelyard_server.http_messages import NEVER

KINDS = (
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
)  # fmt: skip
GREETING = frames.PREFACE + frames.settings()
POST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a"))
BLOCK = encoded(POST)
HEAD, TRAILERS = encoded([(b":status", b"200")]), encoded([(b"grpc-status", b"0")])


def headers(stream: int, block: bytes = BLOCK, *, end: bool = False, complete: bool = True) -> bytes:
    return frame(frames.HEADERS, frames.END_STREAM * end | frames.END_HEADERS * complete, stream, block)


def data(stream: int, body: bytes = b"", *, end: bool = False) -> bytes:
    return frame(frames.DATA, frames.END_STREAM * end, stream, body)


OPEN = headers(1)
WHOLE = OPEN + data(1, b"hi", end=True)


def fields(*more: tuple[bytes, bytes], without: bytes = b"") -> bytes:
    """The block of a request with further fields, or without one."""
    return encoded([*(pair for pair in POST if pair[0] != without), *more])


def told(sent: bytes) -> list[str]:
    """What a server sent, a text for each frame."""
    found = []
    while sent:
        word, flags, number = frames.HEAD.unpack_from(sent)
        payload, sent = sent[9 : 9 + (word >> 8)], sent[9 + (word >> 8) :]
        assert len(payload) == word >> 8
        kind = KINDS[word & 0xFF]
        words: list[object] = [kind]
        if kind == "GOAWAY":
            words += [int.from_bytes(payload[:4], "big"), Code(int.from_bytes(payload[4:8], "big")).name]
        elif kind == "RST_STREAM":
            words += [number, Code(int.from_bytes(payload, "big")).name]
        elif kind == "WINDOW_UPDATE":
            words += [number, int.from_bytes(payload, "big")]
        elif kind in ("SETTINGS", "PING"):
            words += ["ACK"] if flags & frames.ACK else []
        else:
            words += [number] + ([len(payload)] if kind == "DATA" else [])
            words += ["END"] if flags & frames.END_STREAM else []
        found.append(" ".join(map(str, words)))
    return found


class Request:
    """Takes the body of one request, and echoes it when it is complete."""

    until = NEVER

    def __init__(self, peer: "Peer", stream: Stream, found: Fields) -> None:
        self._peer = peer
        self.stream = stream
        self.fields = found
        self.body = b""
        self.complete = False
        self.left = False

    def data(self, data: bytes | memoryview) -> None:
        assert data
        assert not self.complete
        self.body += data

    def end(self) -> None:
        assert not self.complete
        self.complete = True
        if self._peer.echoes:
            self.answer(self.body)

    def answer(self, body: bytes) -> None:
        self._peer.session.send(self.stream, HEAD, body, TRAILERS)

    def leave(self) -> None:
        assert not self.left
        self.left = True

    def expire(self) -> None:
        raise AssertionError


class Peer:
    """The client, and the session that it talks to."""

    def __init__(self, limits: SessionLimits | None = None, *, echoes: bool = True, greets: bool = True) -> None:
        self.now = 0.0
        self.echoes = echoes
        self.requests: list[Request] = []
        self.session = Session(limits or SessionLimits(), self._begin, lambda: self.now)
        self.raw = b""
        if greets:
            assert self.send(GREETING) == ["SETTINGS", "WINDOW_UPDATE 0 16711681", "SETTINGS ACK"]

    def _begin(self, stream: Stream, found: Fields) -> Request:
        self.requests.append(Request(self, stream, found))
        return self.requests[-1]

    def send(self, *parts: bytes) -> list[str]:
        """Send frames, and give what the server sends at once."""
        self.session.feed(b"".join(parts))
        return self.received()

    def send_in_pieces(self, sent: bytes, pieces: Sequence[int]) -> list[str]:
        """Send bytes cut at these places."""
        found = []
        for start, end in zip([0, *pieces], [*pieces, len(sent)], strict=True):
            found += self.send(sent[start:end])
        return found

    def received(self) -> list[str]:
        """What the server sent since the last time."""
        sent = b""
        while self.session.sender.ready:
            sent += b"".join(self.session.sender.take(65_536))
        self.raw += sent
        return told(sent)


def padded(content: bytes, padding: int) -> bytes:
    return bytes([padding]) + content + bytes(padding)
