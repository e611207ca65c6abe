"""What the header fields of a gRPC request ask for, and the header blocks of an answer. Pure.

Source: grpc/grpc doc/PROTOCOL-HTTP2.md and doc/statuscodes.md.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from modelyard_server import http2_fields
from modelyard_server.errors import RequestError
from modelyard_server.http2_fields import Fields

OK: Final = 0
CODES: Mapping[int, int] = {400: 3, 401: 16, 404: 5, 413: 8, 422: 13, 429: 8, 501: 12, 503: 14, 504: 4}
"""gRPC's codes by the HTTP status that RequestError has; another one is INTERNAL."""
INTERNAL: Final = 13
NAMES: Mapping[int, str] = {
    0: "OK",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    8: "RESOURCE_EXHAUSTED",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
CODINGS: Final = (b"identity", b"deflate", b"gzip")

_TYPE = re.compile(rb"application/grpc(\+proto)?(;.*)?")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MESSAGE_BYTES = 2048
"""Of an error's text; a header list has an end."""
_ANSWER = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_ENCODINGS = (b"grpc-accept-encoding", b", ".join(CODINGS))
_PLAIN = frozenset(range(0x20, 0x7F)) - {0x25}

HEAD: Final = http2_fields.encoded((*_ANSWER, _ENCODINGS))
"""The header block before the messages of an answer."""
TRAILERS: Final = http2_fields.encoded([(b"grpc-status", b"0")])
"""The header block after them, where all went well."""


class Head(NamedTuple):
    """What a request asks for, as far as its header fields tell."""

    path: bytes
    seconds: float | None
    """How long the client waits."""
    coding: bytes
    authorization: bytes | None
    fields: Fields


def read_head(fields: Fields) -> Head | int:
    """The head of a gRPC request, or the HTTP status of the answer to what is none.

    Raises RequestError for a field that cannot be obeyed.
    """
    found = dict(fields)
    if found[b":method"] != b"POST":
        return 405
    if not _TYPE.fullmatch(found.get(b"content-type", b"")):
        return 415
    coding = found.get(b"grpc-encoding", b"identity")
    if coding not in CODINGS:
        raise RequestError("metadata grpc-encoding: identity, deflate and gzip are known", 501)
    timeout = found.get(b"grpc-timeout")
    authorization = found.get(b"authorization")
    return Head(found[b":path"], None if timeout is None else _seconds(timeout), coding, authorization, fields)


def _seconds(timeout: bytes) -> float:
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise RequestError("metadata grpc-timeout: it has up to eight digits and one of H, M, S, m, u, n")
    return int(match[1]) * _UNITS[match[2]]


def http_block(status: int) -> bytes:
    """The header block of an answer that is not gRPC."""
    return http2_fields.encoded([(b":status", b"%d" % status)])


def status_block(code: int, text: str, *, begun: bool = False) -> bytes:
    """The header block that ends a call, after messages where it has ``begun``, else all of its answer."""
    fields = [(b"grpc-status", b"%d" % code)]
    if text:
        fields.append((b"grpc-message", percent_encoded(text)))
    return http2_fields.encoded(fields if begun else [*_ANSWER, _ENCODINGS, *fields])


def percent_encoded(text: str) -> bytes:
    """A text for grpc-message."""
    encoded = text.encode()[:_MESSAGE_BYTES]
    return b"".join([b"%c" % each if each in _PLAIN else b"%%%02X" % each for each in encoded])
