"""HTTP requests and answers as values, and the bytes of an answer. Pure.

Source: RFC 9112 (HTTP/1.1) for the form, RFC 9110 for the fields.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

import orjson

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
Part: TypeAlias = bytes | memoryview

JSON = b"application/json"
NEVER = math.inf
"""A deadline that does not come."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


@dataclass(frozen=True)
class Limits:
    """What one connection may ask for, and how long it may take. Sizes in bytes, times in seconds."""

    body: int = 64 * 1024 * 1024
    """Of a body as sent, and of the same body inflated."""
    head: int = 32 * 1024
    """Of a request line with its headers; also of a chunk's extensions and of trailers."""
    headers: int = 100
    """Header fields."""
    connections: int = 8192
    """Connections at once; a further one is told to try again."""
    head_seconds: float = 20.0
    """From the first byte of a request to the end of its head."""
    idle_seconds: float = 75.0
    """Between requests; longer than proxies keep idle connections (60 s as a rule), so that they close first."""
    body_seconds: float = 30.0
    """For a body, beside the time that it takes at ``body_bytes_per_second``."""
    body_bytes_per_second: int = 16 * 1024
    write_seconds: float = 60.0
    """For a client to take an answer."""
    linger_seconds: float = 2.0
    """After an answer to a request that was not read whole, so that a reset does not overtake the answer."""

    def seconds_for_body(self, size: int) -> float:
        """The time that a body of ``size`` bytes may take."""
        return self.body_seconds + size / self.body_bytes_per_second


@dataclass(slots=True)
class Request:
    """One request. ``body`` is filled after the head was seen."""

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    """By lower-case name; fields of the same name are joined by a comma, as RFC 9110 section 5.2 has it."""
    body: Part = b""

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


class Response(NamedTuple):
    """One answer. ``body`` goes out as it is: views of arrays are not copied."""

    status: int
    body: tuple[Part, ...]
    content_type: bytes = JSON
    headers: Headers = ()


def json_response(document: object, status: int = 200, headers: Headers = ()) -> Response:
    """An answer with a JSON body."""
    return Response(status, (orjson.dumps(document),), JSON, headers)


def rendered(response: Response, date: bytes, *, close: bool, with_body: bool = True) -> list[Part]:
    """The answer as it goes over the wire, head first. ``date`` is the whole field line of Date."""
    body = response.body
    length = len(body[0]) if len(body) == 1 else sum(map(len, body))
    head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        _STATUS_LINES[response.status],
        date,
        response.content_type,
        length,
        b"".join([b"%b: %b\r\n" % pair for pair in response.headers]) if response.headers else b"",
        b"connection: close\r\n" if close else b"",
    )
    return [head, *body] if with_body else [head]
