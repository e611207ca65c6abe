"""Out of the bytes that a client sends: its greeting, then frames. Source: RFC 9113, sections 3.4 and 4.1."""

from collections.abc import Callable

from modelyard_server.http2_frames import FRAME_BYTES, HEAD, HEAD_BYTES, LARGEST, PREFACE, Code, Http2Error

Take = Callable[[int, int, int, bytes], None]
"""Told of each frame: type, flags, stream and payload."""


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

    def feed(self, data: bytes) -> None:
        """Read ``data``. Raises Http2Error."""
        if self._stopped:
            return
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if not self._greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise Http2Error(Code.PROTOCOL_ERROR, "this port speaks HTTP/2, from its first byte on")
            if end < len(PREFACE):
                self._rest = data
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
            self._rest = data[at:]
