"""The one message of a unary gRPC request, put together as it arrives, and the bytes of one that is sent. Pure.

Source: grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message, and doc/compression.md.
"""

import struct
import zlib

from modelyard_server.errors import RequestError
from modelyard_server.http_body import Body

_PREFIX = struct.Struct(">BI")
_PREFIX_BYTES = 5


class MessageReader:
    """Takes the body of a request. Raises RequestError unless it is one message of at most ``limit`` bytes.

    A message of several pieces lies in memory so that byte ``lead`` has an address that every datatype may have.
    """

    def __init__(self, limit: int, coding: bytes, lead: int = 0) -> None:
        self._limit = limit
        self._coding = coding
        self._lead = lead
        self._prefix = b""
        self._body = Body(0)
        self._received = 0
        self._compressed = False
        self.size: int | None = None
        """Bytes of the message as sent, once its prefix is read."""

    def add(self, data: bytes | memoryview) -> None:
        """Take a piece of the body, of which no view is kept."""
        self._received += len(data)
        if self.size is None:
            missing = _PREFIX_BYTES - len(self._prefix)
            self._prefix += bytes(data[:missing])
            if len(self._prefix) < _PREFIX_BYTES:
                return
            self._start()
            data = data[missing:]
        if self.size is not None and self._received > self.size + _PREFIX_BYTES:
            raise RequestError("this method takes one message, and more was sent", 501)
        if data:
            self._body.add(data)

    def _start(self) -> None:
        flag, size = _PREFIX.unpack(self._prefix)
        if flag > 1:
            raise RequestError("the message has an unknown flag", 422)
        if flag and self._coding == b"identity":
            raise RequestError("the message is compressed, and grpc-encoding does not say how", 422)
        if size > self._limit:
            raise too_large(self._limit)
        self._compressed = bool(flag)
        self._body = Body(size, self._lead)
        self.size = size

    def message(self) -> bytes | memoryview:
        """The message, when the body is complete; it can be had once."""
        if self.size is None:
            if self._received:
                raise RequestError("the message is not complete", 422)
            raise RequestError("this method takes one message, and none was sent", 501)
        if self._received < self.size + _PREFIX_BYTES:
            raise RequestError("the message is not complete", 422)
        whole, self._body = self._body.whole(), Body(0)
        return inflated(whole, self._coding, self._limit) if self._compressed else whole


def inflated(data: bytes | memoryview, coding: bytes, limit: int) -> bytes:
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
