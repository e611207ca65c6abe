import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_server.content_coding import inflate
from modelyard_server.errors import RequestError

LIMIT = 64


@given(st.binary(max_size=LIMIT))
def test_gzip_and_deflate_are_inflated(body: bytes) -> None:
    assert inflate(gzip.compress(body), b"gzip", LIMIT) == body
    assert inflate(zlib.compress(body), b" Deflate ", LIMIT) == body
    assert inflate(body, b"identity", LIMIT) == body


@pytest.mark.parametrize(
    ("body", "encoding"), [(gzip.compress(bytes(65), mtime=0), b"gzip"), (zlib.compress(bytes(10_000)), b"deflate")]
)
def test_a_body_is_not_inflated_above_the_limit(body: bytes, encoding: bytes) -> None:
    with pytest.raises(RequestError, match="body is larger than 64 bytes; send fewer rows at once") as refused:
        inflate(body, encoding, LIMIT)
    assert refused.value.status == 413


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
        inflate(body, encoding, LIMIT)
    assert str(refused.value) == error
