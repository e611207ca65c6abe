import gzip
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_server import asgi
from modelyard_server.errors import RequestError

LIMIT = 64


async def read(
    chunks: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]] = (), end: str = "http.request"
) -> bytes:
    """The body that comes in ``chunks``, then an empty last message of the type ``end``."""
    messages = iter(chunks)

    async def receive() -> asgi.Message:
        chunk = next(messages, None)
        return {"type": end} if chunk is None else {"type": "http.request", "body": chunk, "more_body": True}

    scope: asgi.Scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    return await asgi.read_body(scope, receive, LIMIT)


async def test_a_body_may_come_in_chunks_up_to_the_limit() -> None:
    assert await read([b"a" * 32, b"", b"b" * 32]) == b"a" * 32 + b"b" * 32


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ([b"a" * 32, b"b" * 33], []),
        ([], [(b"content-length", b"65")]),
        ([gzip.compress(bytes(65))], [(b"content-encoding", b"gzip")]),
        ([zlib.compress(bytes(10_000))], [(b"content-encoding", b"deflate")]),
    ],
)
async def test_a_larger_body_is_refused(chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(RequestError, match="body is larger than 64 bytes; send fewer rows at once") as refused:
        await read(chunks, headers)
    assert refused.value.status == 413


async def test_a_client_that_leaves_is_told_nothing() -> None:
    with pytest.raises(asgi.ClientGoneError):
        await read([b"a"], end="http.disconnect")


@given(st.binary(max_size=LIMIT))
def test_gzip_and_deflate_are_inflated(body: bytes) -> None:
    assert asgi.inflate(gzip.compress(body), b"gzip", LIMIT) == body
    assert asgi.inflate(zlib.compress(body), b" Deflate ", LIMIT) == body
    assert asgi.inflate(body, b"identity", LIMIT) == body


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b"", b"br", "header Content-Encoding: b'br' is unknown; use gzip or deflate"),
        (b"plain", b"gzip", "body does not decompress as its Content-Encoding says"),
        (gzip.compress(b"a", mtime=0)[:-1], b"gzip", "body ends before or after its compressed data does"),
        (gzip.compress(b"a", mtime=0) + b"b", b"gzip", "body ends before or after its compressed data does"),
    ],
)
def test_a_body_that_does_not_decompress_is_refused(body: bytes, encoding: bytes, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        asgi.inflate(body, encoding, LIMIT)
    assert str(refused.value) == error
