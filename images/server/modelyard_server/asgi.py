"""HTTP as ASGI messages: read a bounded body, send an answer.

Source: the ASGI HTTP specification 2.3, https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Required, TypeAlias, TypedDict

import orjson

from modelyard_server.errors import RequestError, shown

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Scope(TypedDict):
    """The parts of a connection scope that are read here."""

    type: str
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]


class Message(TypedDict, total=False):
    """A message of the ``http`` sub-protocol."""

    type: Required[str]
    body: bytes
    more_body: bool
    status: int
    headers: list[tuple[bytes, bytes]]


Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody waits for an answer."""


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    body: bytes
    headers: Headers


def json_response(document: object, status: int = 200, headers: Headers = ()) -> Response:
    """An answer with a JSON body."""
    return Response(status, orjson.dumps(document), ((b"content-type", b"application/json"), *headers))


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of the first header of that lower-case name."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body, decompressed, of at most ``limit`` bytes before and after; no more is ever held.

    Raises RequestError (413 when it is larger, 400 when it does not decompress) and ClientGoneError.
    """
    declared = header(scope, b"content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    encoding = header(scope, b"content-encoding")
    return body if encoding is None else inflate(body, encoding, limit)


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """``body`` without its content encoding (RFC 9110, section 8.4.1). Raises RequestError as ``read_body`` does."""
    match encoding.strip().lower():
        case b"identity":
            return body
        case b"gzip":
            decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
        case b"deflate":
            decompressor = zlib.decompressobj(zlib.MAX_WBITS)
        case _:
            raise RequestError(f"header Content-Encoding: {shown(encoding)} is unknown; use gzip or deflate")
    try:
        inflated = decompressor.decompress(body, limit + 1)
    except zlib.error:
        raise RequestError("body does not decompress as its Content-Encoding says") from None
    if len(inflated) > limit:
        raise _too_large(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestError("body ends before or after its compressed data does")
    return inflated


async def send_response(send: Send, response: Response) -> None:
    """Send the whole answer."""
    length = (b"content-length", b"%d" % len(response.body))
    await send({"type": "http.response.start", "status": response.status, "headers": [length, *response.headers]})
    await send({"type": "http.response.body", "body": response.body})


def _too_large(limit: int) -> RequestError:
    return RequestError(f"body is larger than {limit} bytes; send fewer rows at once", 413)
