"""gRPC's own layer over HTTP/2: heads, messages and statuses, as bytes and values."""

import contextlib
import gzip
import zlib

import numpy as np
import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.http2_peer import POST

from modelyard_server import grpc_head
from modelyard_server.errors import RequestError
from modelyard_server.grpc_head import percent_encoded, read_head, status_block
from modelyard_server.grpc_message import MessageReader, prefixed
from modelyard_server.http2_fields import Fields
from modelyard_server.http_body import ALIGNMENT

LIMIT = 100
GRPC = (*POST, (b"content-type", b"application/grpc"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (GRPC, (b"/", None, b"identity", None)),
        ((*GRPC, (b"grpc-timeout", b"2S"), (b"grpc-encoding", b"gzip")), (b"/", 2.0, b"gzip", None)),
        ((*GRPC, (b"grpc-timeout", b"99999999n")), (b"/", pytest.approx(0.099999999), b"identity", None)),
        ((*GRPC, (b"authorization", b"Bearer x")), (b"/", None, b"identity", b"Bearer x")),
        ((*POST, (b"content-type", b"application/grpc+proto")), (b"/", None, b"identity", None)),
        ((*POST, (b"content-type", b"application/grpc;a=b")), (b"/", None, b"identity", None)),
        ((*POST, (b"content-type", b"application/grpc-web")), 415),
        ((*POST, (b"content-type", b"application/json")), 415),
        (POST, 415),
        (((b":method", b"GET"), *GRPC[1:]), 405),
    ],
)
def test_a_head_says_what_is_asked(fields: Fields, expected: object) -> None:
    found = read_head(fields)
    assert (found if isinstance(found, int) else found[:4]) == expected


@pytest.mark.parametrize("unit", ["H", "M", "S", "m", "u", "n"])
def test_each_unit_of_a_timeout_is_known(unit: str) -> None:
    found = read_head((*GRPC, (b"grpc-timeout", f"3{unit}".encode())))
    assert isinstance(found, grpc_head.Head)
    assert found.seconds == 3 * {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}[unit]


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ((b"grpc-encoding", b"snappy"), 501),
        ((b"grpc-timeout", b"5"), 400),
        ((b"grpc-timeout", b"123456789S"), 400),
        ((b"grpc-timeout", b"-1S"), 400),
    ],
)
def test_a_field_that_cannot_be_obeyed_is_refused(field: tuple[bytes, bytes], status: int) -> None:
    with pytest.raises(RequestError) as refused:
        read_head((*GRPC, field))
    assert refused.value.status == status


def read(body: bytes, coding: bytes = b"identity", pieces: int = 1000) -> bytes:
    reader = MessageReader(LIMIT, coding)
    for start in range(0, len(body), pieces):
        reader.add(memoryview(body)[start : start + pieces])
    return bytes(reader.message())


def compressed(message: bytes) -> bytes:
    return b"\1" + prefixed(message)[1:]


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 5, 6, 7, 1000])
@pytest.mark.parametrize(
    ("body", "coding", "message"),
    [
        (prefixed(b"hello"), b"identity", b"hello"),
        (prefixed(b""), b"identity", b""),
        (prefixed(bytes(LIMIT)), b"identity", bytes(LIMIT)),
        (prefixed(b"plain"), b"gzip", b"plain"),
        (compressed(gzip.compress(b"hello", mtime=0)), b"gzip", b"hello"),
        (compressed(zlib.compress(b"hello")), b"deflate", b"hello"),
        (compressed(zlib.compress(bytes(LIMIT))), b"deflate", bytes(LIMIT)),
    ],
)
def test_a_message_may_come_in_any_pieces(body: bytes, coding: bytes, message: bytes, pieces: int) -> None:
    assert read(body, coding, pieces) == message


@pytest.mark.parametrize("lead", [0, 1, 63, 70])
def test_a_message_of_several_pieces_is_put_where_its_first_tensor_may_lie(lead: int) -> None:
    reader = MessageReader(LIMIT, b"identity", lead)
    for piece in (prefixed(bytes(LIMIT))[:50], bytes(LIMIT + 5)[50:]):
        reader.add(piece)
    found = np.frombuffer(reader.message(), np.uint8)
    assert (len(found), (found.ctypes.data + lead) % ALIGNMENT) == (LIMIT, 0)


@pytest.mark.parametrize("pieces", [1, 1000])
@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"", b"identity", 501),
        (b"\0\0\0", b"identity", 422),
        (prefixed(b"hello")[:-1], b"identity", 422),
        (prefixed(b"hello") + b"x", b"identity", 501),
        (prefixed(b"hello") * 2, b"identity", 501),
        (prefixed(bytes(LIMIT + 1)), b"identity", 413),
        (b"\0\xff\xff\xff\xff", b"identity", 413),
        (b"\2\0\0\0\1x", b"identity", 422),
        (compressed(gzip.compress(b"hello", mtime=0)), b"identity", 422),
        (compressed(b"hello"), b"gzip", 422),
        (compressed(b""), b"gzip", 422),
        (compressed(gzip.compress(b"hello", mtime=0)), b"deflate", 422),
        (compressed(gzip.compress(b"hello", mtime=0)[:-1]), b"gzip", 422),
        (compressed(gzip.compress(b"hello", mtime=0) + b"x"), b"gzip", 422),
        (compressed(zlib.compress(bytes(LIMIT + 1))), b"deflate", 413),
        (compressed(zlib.compress(bytes(50_000))), b"deflate", 413),
    ],
)
def test_what_is_not_just_one_message_is_refused(body: bytes, coding: bytes, status: int, pieces: int) -> None:
    with pytest.raises(RequestError) as refused:
        read(body, coding, pieces)
    assert refused.value.status == status


@given(st.binary(max_size=60), st.sampled_from(grpc_head.CODINGS), st.integers(1, 20))
def test_no_bytes_break_the_reader(body: bytes, coding: bytes, pieces: int) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(read(body, coding, pieces), bytes)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("plain text", b"plain text"), ("50% é\n", b"50%25 %C3%A9%0A"), ("~", b"~"), ("\x7f", b"%7F")],
)
def test_a_status_message_is_percent_encoded(text: str, encoded: bytes) -> None:
    assert percent_encoded(text) == encoded


def test_a_status_is_all_of_an_answer_or_its_end() -> None:
    def pairs(block: bytes) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value in Decoder().decode(block, raw=True)]

    status = [(b"grpc-status", b"5"), (b"grpc-message", b"no")]
    assert pairs(status_block(5, "no", begun=True)) == status
    assert pairs(status_block(5, "no")) == [*pairs(grpc_head.HEAD), *status]
    assert pairs(grpc_head.HEAD) == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", b"identity, deflate, gzip"),
    ]


def test_a_long_status_message_is_cut() -> None:
    assert len(percent_encoded("x" * 10_000)) == 2048
