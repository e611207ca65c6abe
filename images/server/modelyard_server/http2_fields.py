"""HTTP/2 header fields: read by HPACK within limits, checked, and written. Pure.

Source: RFC 7541 (HPACK), and RFC 9113, section 8, for what a request may have.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from modelyard_server.http2_frames import Code, Http2Error

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]

_INDEXED = re.compile(rb"[\x81-\xfe]+")
"""Fields of the tables, each in one byte."""
_RESIZES = 0x20
"""How a change of the table's size begins, which only a block's start may have."""
_OF_NAMES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz:\n"
_NOT_IN_NAMES = (b"\n\n", b"\n:\n")
_NOT_IN_VALUES = (b"\0", b"\r", b"\n ", b"\n\t", b" \n", b"\t\n")
"""Of all names, or values, as lines."""
_KNOWN_BLOCKS = 16
_KNOWN_BYTES = 64
"""Of a block that is kept."""
_OF_A_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_STATIC = {b":status": 8, b"content-type": 31}
"""Indices of the static table."""


class FieldReader:
    """Reads the header blocks of one connection, in their order.

    A client that repeats itself sends a few bytes that stand for fields of the tables; what they mean is kept for as
    long as the tables stay as they are.
    """

    def __init__(self, limit: int) -> None:
        self._decoder = Decoder(max_header_list_size=2 * limit)  # between, a request is refused and not the connection
        self._known: dict[bytes, Fields] = {}
        self._entries = 0
        self._newest: object = None

    def read(self, block: bytes) -> Fields:
        """The fields of a whole block. Raises Http2Error, after which nothing more can be read."""
        known = self._known.get(block)
        if known is not None:
            return known
        indexed = _INDEXED.match(block)
        end = 0 if indexed is None else indexed.end()
        if 0 < end < len(block) and block[end] & 0xE0 != _RESIZES:
            return self.read(block[:end]) + self._decoded(block[end:])
        fields = self._decoded(block)
        if end == len(block) <= _KNOWN_BYTES:
            self._known[block] = fields
        return fields

    def _decoded(self, block: bytes) -> Fields:
        try:
            fields: Fields = tuple([(bytes(pair[0]), bytes(pair[1])) for pair in self._decoder.decode(block, raw=True)])
        except OversizedHeaderListError:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "the header fields are too large") from None
        except HPACKError as error:
            raise Http2Error(Code.COMPRESSION_ERROR, str(error)) from None
        entries: Sequence[object] = self._decoder.header_table.dynamic_entries
        newest = entries[0] if entries else None
        if len(entries) != self._entries or newest is not self._newest or len(self._known) == _KNOWN_BLOCKS:
            self._known.clear()
            self._entries, self._newest = len(entries), newest
        return fields


def size(fields: Fields) -> int:
    """Bytes of a header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113, section 6.5.2)."""
    return sum([len(name) + len(value) + 32 for name, value in fields])


def malformed_request(fields: Fields) -> str | None:
    """Why these are no fields of a request, or None (section 8.3.1)."""
    pseudo: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if not name.startswith(b":"):
            regular = True
        elif regular:
            return "a pseudo-header field after a regular one"
        elif name in pseudo or name not in (b":method", b":scheme", b":path", b":authority"):
            return "a pseudo-header field that is unknown or given twice"
        else:
            pseudo[name] = value
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        return "a request has :method, :scheme and :path"
    return _malformed(fields)


def malformed_trailers(fields: Fields) -> str | None:
    """Why these are no trailers, or None (section 8.1)."""
    if any(name.startswith(b":") for name, _ in fields):
        return "a pseudo-header field among trailers"
    return _malformed(fields)


def _malformed(fields: Fields) -> str | None:
    names = b"\n".join([b"", *[name for name, _ in fields], b""])
    values = b"\n".join([b"", *[value for _, value in fields], b""])
    wrong = (
        names.count(b"\n") + values.count(b"\n") > 2 * len(fields) + 2
        or names.translate(None, _OF_NAMES)
        or names.count(b":") != names.count(b"\n:")
        or (fields and any(each in names for each in _NOT_IN_NAMES))
        or any(each in values for each in _NOT_IN_VALUES)
    )
    if wrong:
        return "a field name or value that HTTP/2 does not allow"
    for name, value in fields:
        if name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
            return "a field that is of a connection of HTTP/1.1"
    return None


class RequestCheck:
    """Whether fields are of a request; what was found good is known again when it is repeated."""

    def __init__(self) -> None:
        self._good: Fields | None = None
        self.announced: int | None = None
        """The size of the body of the last good request, as far as its content-length says it."""

    def well_formed(self, fields: Fields, *, ended: bool) -> bool:
        """Whether they are; ``ended``: no body follows."""
        if fields is not self._good:
            length = dict(fields).get(b"content-length")
            if malformed_request(fields) or not (length is None or (length.isdigit() and len(length) < 19)):
                return False
            self._good, self.announced = fields, None if length is None else int(length)
        return not (ended and self.announced)


def encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of literals that no table learns, so that it is the same in every connection and at any time."""
    return b"".join([_literal(name, value) for name, value in fields])


def _literal(name: bytes, value: bytes) -> bytes:
    index = _STATIC.get(name)
    head = b"\x00" + _text(name) if index is None else bytes(_integer(index, 4))
    return head + _text(value)


def _text(text: bytes) -> bytes:
    return bytes(_integer(len(text), 7)) + text


def _integer(value: int, bits: int) -> Sequence[int]:
    """A number whose first ``bits`` share a byte (RFC 7541, section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return [value]
    found = [most]
    value -= most
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return [*found, value]
