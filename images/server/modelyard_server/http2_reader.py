"""Out of the bytes that a client sends: its greeting, then frames. Source: RFC 9113, sections 3.4 and 4.1."""

from collections.abc import Callable

from modelyard_server.http2_frames import FRAME_BYTES, HEAD, HEAD_BYTES, LARGEST, PREFACE, Code, Http2Error, Payload

Take = Callable[[int, int, int, Payload], None]
"""Told of each frame: type, flags, stream and payload, which may be a view that is good until it returns."""


class FrameReader:
    """Calls ``take`` for each frame that is complete."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._rest = b""
        self._greeted = False
        self._stopped = False

    @property
    def incomplete(self) -> bool:
        """Whether a part of a frame, or of the greeting, is there."""
        return bool(self._rest)

    def stop(self) -> None:
        """Read no further frame."""
        self._stopped = True
        self._rest = b""

    def feed(self, data: Payload) -> None:
        """Read ``data``. Raises Http2Error."""
        used = self._complete(data) if self._rest else 0
        if used < len(data) and not self._stopped:
            self._read(memoryview(data)[used:])

    def _complete(self, data: Payload) -> int:
        """Read the frame of which a part was there, with what of it begins ``data``; returns how much that is."""
        rest, used = self._rest, 0
        while used < len(data) and (missing := self._missing(rest)) > 0:
            piece = bytes(data[used : used + missing])
            rest += piece
            used += len(piece)
        self._rest = b""
        self._read(memoryview(rest))
        return used

    def _missing(self, rest: bytes) -> int:
        """How many bytes would complete the greeting, a frame's head, or the frame that ``rest`` begins with."""
        if not self._greeted:
            return len(PREFACE) - len(rest)
        if len(rest) < HEAD_BYTES:
            return HEAD_BYTES - len(rest)
        word, _, _ = HEAD.unpack_from(rest)
        length: int = word >> 8
        return HEAD_BYTES + min(length, FRAME_BYTES) - len(rest)

    def _read(self, data: memoryview) -> None:
        at, end = 0, len(data)
        if not self._greeted:
            if not PREFACE.startswith(bytes(data[: len(PREFACE)])):
                raise Http2Error(Code.PROTOCOL_ERROR, "this port speaks HTTP/2, from its first byte on")
            if end < len(PREFACE):
                self._rest = bytes(data)
                return
            self._greeted = True
            at = len(PREFACE)
        while end - at >= HEAD_BYTES and not self._stopped:
            word, flags, number = HEAD.unpack_from(data, at)
            length: int = word >> 8
            if length > FRAME_BYTES:
                raise Http2Error(Code.FRAME_SIZE_ERROR, f"a frame is longer than {FRAME_BYTES} bytes")
            if end - at - HEAD_BYTES < length:
                break
            at += HEAD_BYTES
            payload = data[at : at + length]
            at += length
            self._take(word & 0xFF, flags, number & LARGEST, payload)
        if not self._stopped:
            self._rest = bytes(data[at:])
