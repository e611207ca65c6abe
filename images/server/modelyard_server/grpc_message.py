"""The one message of a unary gRPC request, put together as it arrives, and the bytes of one that is sent. Pure.

Source: grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message, and doc/compression.md.
"""

import struct
import zlib

from modelyard_server.errors import RequestError

_PREFIX = struct.Struct(">BI")
_PREFIX_BYTES = 5


class MessageReader:
    """Takes the body of a request. Raises RequestError unless it is one message of at most ``limit`` bytes."""

    def __init__(self, limit: int, coding: bytes) -> None:
        self._limit = limit
        self._coding = coding
        self._chunks: list[bytes] = []
        self._received = 0
        self._compressed = False
        self.size: int | None = None
        """Bytes of the message as sent, once its prefix is read."""

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._received += len(data)
        if self.size is None:
            if self._chunks:
                data = self._chunks.pop() + data
            if len(data) < _PREFIX_BYTES:
                self._chunks.append(data)
                return
            self._start(data)
            data = data[_PREFIX_BYTES:]
        if self.size is not None and self._received > self.size + _PREFIX_BYTES:
            raise RequestError("this method takes one message, and more was sent", 501)
        if data:
            self._chunks.append(data)

    def _start(self, data: bytes) -> None:
        flag, size = _PREFIX.unpack_from(data)
        if flag > 1:
            raise RequestError("the message has an unknown flag", 422)
        if flag and self._coding == b"identity":
            raise RequestError("the message is compressed, and grpc-encoding does not say how", 422)
        if size > self._limit:
            raise too_large(self._limit)
        self._compressed = bool(flag)
        self.size = size

    def message(self) -> bytes:
        """The message, when the body is complete; it can be had once."""
        if self.size is None:
            if self._received:
                raise RequestError("the message is not complete", 422)
            raise RequestError("this method takes one message, and none was sent", 501)
        if self._received < self.size + _PREFIX_BYTES:
            raise RequestError("the message is not complete", 422)
        chunks, self._chunks = self._chunks, []
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return inflated(whole, self._coding, self._limit) if self._compressed else whole


def inflated(data: bytes, coding: bytes, limit: int) -> bytes:
    """A compressed message inflated; never more than ``limit`` bytes and one are made of it. Raises RequestError."""
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16 if coding == b"gzip" else zlib.MAX_WBITS)
    try:
        found = decompressor.decompress(data, limit + 1)
    except zlib.error:
        raise RequestError("the message does not decompress as grpc-encoding says", 422) from None
    if len(found) > limit:
        raise too_large(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestError("the message ends before or after its compressed data does", 422)
    return found


def too_large(limit: int) -> RequestError:
    """The refusal of a message above the limit."""
    return RequestError(f"the message is larger than {limit} bytes; send fewer rows at once", 413)


def prefixed(message: bytes) -> bytes:
    """A message as it is sent."""
    return _PREFIX.pack(0, len(message)) + message
