"""RFC 9113 as a table in the manner of h2spec: what a client sends, and what it is told."""

import pytest
from tests.unit.server.http2_peer import BLOCK, OPEN, POST, WHOLE, Peer, data, fields, headers, padded

from modelyard_server import http2_frames as frames
from modelyard_server.http2_fields import encoded
from modelyard_server.http2_frames import LARGEST, Code, frame, rst_stream, settings, window_update
from modelyard_server.http2_limits import SessionLimits

ANSWER = ["HEADERS 1", "DATA 1 2", "HEADERS 1 END"]
ENDED = headers(1, end=True)
"""A request without a body, which is not answered in the tables of errors."""


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (WHOLE, ANSWER),
        (headers(1, end=True), ["HEADERS 1", "HEADERS 1 END"]),
        (OPEN + data(1, b"h") + data(1, b"i", end=True), ANSWER),
        (OPEN + data(1, b"hi") + data(1, end=True), ANSWER),
        (OPEN + frame(frames.DATA, 0x9, 1, padded(b"hi", 200)), ANSWER),
        (frame(frames.HEADERS, 0xC, 1, padded(BLOCK, 3)) + data(1, b"hi", end=True), ANSWER),
        (frame(frames.HEADERS, 0x24, 1, bytes(5) + BLOCK) + data(1, b"hi", end=True), ANSWER),
        (frame(frames.HEADERS, 0x2C, 1, padded(bytes(5) + BLOCK, 3)) + data(1, b"hi", end=True), ANSWER),
        (
            headers(1, BLOCK[:3], complete=False)
            + frame(frames.CONTINUATION, 0, 1, BLOCK[3:5])
            + frame(frames.CONTINUATION, frames.END_HEADERS, 1, BLOCK[5:])
            + data(1, b"hi", end=True),
            ANSWER,
        ),
        (OPEN + data(1, b"hi") + headers(1, encoded([(b"a", b"b")]), end=True), ANSWER),
        (headers(1, fields((b"content-length", b"2"))) + data(1, b"hi", end=True), ANSWER),
        (headers(1, fields((b"te", b"trailers"))) + data(1, b"hi", end=True), ANSWER),
        (OPEN + headers(3) + data(3, b"x", end=True), ["HEADERS 3", "DATA 3 1", "HEADERS 3 END"]),
        (frame(frames.PING, 0, 0, b"12345678"), ["PING ACK"]),
        (frame(frames.PING, frames.ACK, 0, b"12345678"), []),
        (settings((99, 7), (frames.ENABLE_PUSH, 0), (frames.HEADER_TABLE_SIZE, 0)), ["SETTINGS ACK"]),
        (frame(frames.SETTINGS, frames.ACK, 0), []),
        (frame(frames.PRIORITY, 0, 5, bytes(5)), []),
        (frame(77, 0xFF, 3, b"whatever"), []),
        (frame(77, 0xFF, 0, b""), []),
        (frame(frames.GOAWAY, 0, 0, bytes(8)) + WHOLE, ANSWER),
        (OPEN + rst_stream(1, Code.CANCEL), []),
        (OPEN + rst_stream(1, Code.CANCEL) + rst_stream(1, Code.CANCEL) + window_update(1, 1), []),
        (frame(frames.PING, 0, 1 << 31, b"12345678"), ["PING ACK"]),
    ],
)
def test_what_is_allowed_is_answered(sent: bytes, received: list[str]) -> None:
    assert Peer().send(sent) == received


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # Section 4.2, 4.3
        (b"\x00\x40\x01" + bytes(6), Code.FRAME_SIZE_ERROR),
        (headers(1, b"\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
        (headers(1, b"\x80"), Code.COMPRESSION_ERROR),
        (headers(1, b"\xfe"), Code.COMPRESSION_ERROR),
        (headers(1, b"\x3f\xe2\x1f"), Code.COMPRESSION_ERROR),
        (headers(1, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), Code.COMPRESSION_ERROR),
        # Section 5.1
        (data(1, b"x"), Code.PROTOCOL_ERROR),
        (rst_stream(1, Code.CANCEL), Code.PROTOCOL_ERROR),
        (window_update(1, 1), Code.PROTOCOL_ERROR),
        (OPEN + headers(2), Code.PROTOCOL_ERROR),
        (headers(5) + headers(3), Code.PROTOCOL_ERROR),
        (OPEN + rst_stream(1, Code.CANCEL) + headers(1), Code.STREAM_CLOSED),
        # Section 6
        (data(0, b"x"), Code.PROTOCOL_ERROR),
        (OPEN + frame(frames.DATA, frames.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
        (OPEN + frame(frames.DATA, frames.PADDED, 1, b""), Code.FRAME_SIZE_ERROR),
        (headers(0), Code.PROTOCOL_ERROR),
        (frame(frames.HEADERS, 0xC, 1, b"\xff" + BLOCK), Code.PROTOCOL_ERROR),
        (frame(frames.HEADERS, 0x24, 1, b"1234"), Code.FRAME_SIZE_ERROR),
        (headers(1, complete=False) + headers(3), Code.PROTOCOL_ERROR),
        (headers(1, complete=False) + data(1, b"x"), Code.PROTOCOL_ERROR),
        (headers(1, complete=False) + frame(77, 0, 0), Code.PROTOCOL_ERROR),
        (headers(1, complete=False) + frame(frames.CONTINUATION, 4, 3, b""), Code.PROTOCOL_ERROR),
        (frame(frames.CONTINUATION, 4, 1, BLOCK), Code.PROTOCOL_ERROR),
        (OPEN + frame(frames.CONTINUATION, 4, 1, BLOCK), Code.PROTOCOL_ERROR),
        (frame(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
        (frame(frames.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
        (frame(frames.RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
        (OPEN + frame(frames.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (frame(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
        (settings((frames.ENABLE_PUSH, 2)), Code.PROTOCOL_ERROR),
        (settings((frames.INITIAL_WINDOW_SIZE, LARGEST + 1)), Code.FLOW_CONTROL_ERROR),
        (settings((frames.MAX_FRAME_SIZE, 16_383)), Code.PROTOCOL_ERROR),
        (settings((frames.MAX_FRAME_SIZE, 1 << 24)), Code.PROTOCOL_ERROR),
        (frame(frames.PUSH_PROMISE, 4, 1, bytes(4) + BLOCK), Code.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (frame(frames.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
        (window_update(0, 0), Code.PROTOCOL_ERROR),
        (window_update(0, LARGEST), Code.FLOW_CONTROL_ERROR),
        (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
        (OPEN + window_update(1, LARGEST - 70_000) + settings((4, 100_000)), Code.FLOW_CONTROL_ERROR),
    ],
)
def test_a_broken_rule_of_the_connection_ends_it(sent: bytes, code: Code) -> None:
    peer = Peer(echoes=False)
    last = peer.send(sent)[-1]
    assert (last.split()[0], last.split()[2]) == ("GOAWAY", code.name)
    assert peer.session.finished
    assert peer.send(WHOLE) == []
    assert all(request.left for request in peer.requests)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # Section 5.1, 5.2, 6.9
        (ENDED + data(1, b"x"), Code.STREAM_CLOSED),
        (ENDED + headers(1, end=True), Code.STREAM_CLOSED),
        (OPEN + rst_stream(1, Code.CANCEL) + data(1, b"x"), Code.STREAM_CLOSED),
        (OPEN + window_update(1, 0), Code.PROTOCOL_ERROR),
        (OPEN + window_update(1, LARGEST), Code.FLOW_CONTROL_ERROR),
        # Section 8.1
        (OPEN + headers(1, encoded([(b"a", b"b")])), Code.PROTOCOL_ERROR),
        (OPEN + headers(1, encoded([(b":path", b"/")]), end=True), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"content-length", b"3"))) + data(1, b"hi", end=True), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"content-length", b"1"))) + data(1, b"hi"), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"content-length", b"1")), end=True), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"content-length", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"content-length", b"1"))) + headers(1, encoded([]), end=True), Code.PROTOCOL_ERROR),
        # Section 8.2, 8.3
        (headers(1, fields((b"Upper", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b"x\r\ny"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b" x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a:b", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a\nb", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b"x\ny"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b"x\t"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b"x\0"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b":", b"x"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"connection", b"close"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"te", b"gzip"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b":status", b"200"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b":path", b"/again"))), Code.PROTOCOL_ERROR),
        (headers(1, fields((b"a", b"b"), (b":authority", b"late"))), Code.PROTOCOL_ERROR),
        (headers(1, b""), Code.PROTOCOL_ERROR),
        (headers(1, fields(without=b":method")), Code.PROTOCOL_ERROR),
        (headers(1, fields(without=b":scheme")), Code.PROTOCOL_ERROR),
        (headers(1, fields(without=b":path")), Code.PROTOCOL_ERROR),
        (headers(1, encoded([*POST[:2], (b":path", b"")])), Code.PROTOCOL_ERROR),
    ],
)
def test_a_broken_rule_of_a_stream_ends_that_stream_only(sent: bytes, code: Code) -> None:
    peer = Peer(echoes=False)
    assert peer.send(sent) == [f"RST_STREAM 1 {code.name}"]
    assert not peer.session.streams
    peer.echoes = True
    assert peer.send(headers(3, end=True)) == ["HEADERS 3", "HEADERS 3 END"]


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n", frames.PREFACE + headers(1), frames.PREFACE + frame(frames.SETTINGS, 1, 0)]
)
def test_a_client_that_does_not_greet_is_sent_away(sent: bytes) -> None:
    assert Peer(greets=False).send(sent)[-1] == "GOAWAY 0 PROTOCOL_ERROR"


def test_what_is_still_on_its_way_on_a_stream_that_we_reset_is_ignored() -> None:
    peer = Peer(echoes=False)
    assert peer.send(OPEN, window_update(1, 0)) == ["RST_STREAM 1 PROTOCOL_ERROR"]
    assert peer.send(data(1, b"late"), headers(1, end=True), rst_stream(1, Code.CANCEL)) == []


def test_an_answer_before_the_end_of_its_request_stops_the_request() -> None:
    peer = Peer()
    peer.send(OPEN)
    peer.requests[0].answer(b"no")
    assert peer.received() == [*ANSWER, "RST_STREAM 1 NO_ERROR"]
    assert peer.send(data(1, b"late", end=True)) == []


def test_more_requests_at_once_than_allowed_are_refused() -> None:
    peer = Peer(SessionLimits(streams=2), echoes=False)
    assert peer.send(headers(1), headers(3), headers(5)) == ["RST_STREAM 5 REFUSED_STREAM"]
    peer.requests[0].answer(b"")
    assert peer.send(headers(7)) == ["HEADERS 1", "HEADERS 1 END", "RST_STREAM 1 NO_ERROR"]
