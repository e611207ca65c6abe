"""RFC 9113 as a table in the manner of h2spec: what a client sends, and what it is told."""

import struct

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.http2_peer import BLOCK, GREETING, POST, Peer, data, fields, headers

from modelyard_server import http2_frames as frames
from modelyard_server.http2_fields import encoded
from modelyard_server.http2_frames import LARGEST, Code, frame, rst_stream, settings, window_update
from modelyard_server.http2_limits import SessionLimits

ANSWER = ["HEADERS 1", "DATA 1 2", "HEADERS 1 END"]
OPEN = headers(1)
WHOLE = OPEN + data(1, b"hi", end=True)
ENDED = headers(1, end=True)
"""A request without a body, which is not answered in the tables of errors."""


def padded(content: bytes, padding: int) -> bytes:
    return bytes([padding]) + content + bytes(padding)


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


# Flow control.


def test_an_answer_is_sent_as_the_windows_allow() -> None:
    peer = Peer(echoes=False)
    peer.send(settings((frames.INITIAL_WINDOW_SIZE, 10)), headers(1, end=True))
    peer.requests[0].answer(b"x" * 25)
    assert peer.received() == ["HEADERS 1", "DATA 1 10"]
    assert peer.send(window_update(1, 5)) == ["DATA 1 5"]
    assert peer.send(settings((frames.INITIAL_WINDOW_SIZE, 4))) == ["SETTINGS ACK"]
    assert peer.send(window_update(1, 6)) == []
    assert peer.send(settings((frames.INITIAL_WINDOW_SIZE, 13))) == ["SETTINGS ACK", "DATA 1 9"]
    assert peer.send(window_update(1, 9)) == ["DATA 1 1", "HEADERS 1 END"]
    assert peer.session.sender.waiting_bytes == 0


def test_an_empty_answer_needs_no_window() -> None:
    peer = Peer(echoes=False)
    peer.send(headers(1, end=True), settings((frames.INITIAL_WINDOW_SIZE, 0)))
    peer.requests[0].answer(b"")
    assert peer.received() == ["HEADERS 1", "HEADERS 1 END"]


def test_streams_share_the_connections_window_in_turns() -> None:
    peer = Peer(echoes=False)
    peer.send(settings((frames.INITIAL_WINDOW_SIZE, LARGEST)), headers(1, end=True), headers(3, end=True))
    for request in peer.requests:
        request.answer(b"x" * 40_000)
    assert peer.received() == [
        "HEADERS 1", "HEADERS 3", "DATA 1 16384", "DATA 3 16384", "DATA 1 16384", "DATA 3 16383",
    ]  # fmt: skip
    assert peer.send(window_update(0, 20_000)) == ["DATA 1 7232", "HEADERS 1 END", "DATA 3 7233", "HEADERS 3 END"]


def test_frames_are_as_long_as_the_client_takes_them() -> None:
    peer = Peer(echoes=False)
    peer.send(settings((frames.MAX_FRAME_SIZE, 40_000)), headers(1, end=True))
    peer.requests[0].answer(b"x" * 60_000)
    assert peer.received() == ["HEADERS 1", "DATA 1 40000", "DATA 1 20000", "HEADERS 1 END"]


def test_a_cancelled_answer_waits_no_longer() -> None:
    peer = Peer(echoes=False)
    peer.send(settings((frames.INITIAL_WINDOW_SIZE, 10)), headers(1, end=True))
    peer.requests[0].answer(b"x" * 25)
    peer.send(rst_stream(1, Code.CANCEL))
    assert (peer.session.sender.waiting_bytes, peer.requests[0].left) == (0, True)
    assert peer.send(window_update(0, 100)) == []


def test_what_was_received_is_given_back_in_halves_of_a_window() -> None:
    peer = Peer(SessionLimits(stream_window=100_000, connection_window=16 * 1024 * 1024), echoes=False)
    assert peer.send(OPEN, data(1, bytes(16_000)) * 3) == []
    assert peer.send(data(1, bytes(16_000))) == ["WINDOW_UPDATE 1 64000"]
    assert peer.send(data(1, bytes(16_000), end=True)) == []


def test_more_than_the_window_of_a_stream_breaks_the_stream() -> None:
    peer = Peer(SessionLimits(stream_window=10), echoes=False)
    assert peer.send(OPEN, data(1, bytes(11))) == ["RST_STREAM 1 FLOW_CONTROL_ERROR"]


def test_more_than_the_window_of_the_connection_breaks_it() -> None:
    limits = SessionLimits(connection_window=70_000)
    peer = Peer(limits, echoes=False, greets=False)
    peer.session._receives._left = 5
    assert peer.send(GREETING, OPEN, data(1, bytes(6)))[-1] == "GOAWAY 1 FLOW_CONTROL_ERROR"


# Limits.


@pytest.mark.parametrize(
    "sent",
    [
        frame(frames.PING, 0, 0, bytes(8)) * 51,
        settings() * 51,
        frame(frames.PRIORITY, 0, 1, bytes(5)) * 51,
        frame(99, 0, 0) * 51,
        OPEN + data(1) * 51,
        b"".join(headers(number) + rst_stream(number, Code.CANCEL) for number in range(1, 103, 2)),
        b"".join(headers(number) + window_update(number, 0) for number in range(1, 103, 2)),
        b"".join(headers(number, fields((b"A", b""))) for number in range(1, 103, 2)),
        headers(1, b"", complete=False) + frame(frames.CONTINUATION, 0, 1) * 4,
        headers(1, bytes(16_000), complete=False) + frame(frames.CONTINUATION, 0, 1, bytes(5_000)),
    ],
)
def test_a_flood_ends_the_connection(sent: bytes) -> None:
    peer = Peer(SessionLimits(resets=50, idle_frames=50, continuations=3, fields=10_000), echoes=False)
    assert peer.send(sent)[-1].endswith("ENHANCE_YOUR_CALM")


def test_a_bomb_of_header_fields_ends_the_connection() -> None:
    bomb = b"\x40\x01a\x7f\x81\x0f" + b"x" * 2048 + b"\xbe" * 100
    assert Peer().send(headers(1, bomb)) == ["GOAWAY 0 ENHANCE_YOUR_CALM"]


def test_pings_between_requests_and_over_time_are_no_flood() -> None:
    peer = Peer(SessionLimits(idle_frames=50))
    ping = frame(frames.PING, 0, 0, bytes(8))
    for number in range(1, 200, 2):
        assert peer.send(ping * 40, headers(number, end=True))[-1] == f"HEADERS {number} END"
    for _ in range(100):
        peer.now += 1
        assert peer.send(ping * 5) == ["PING ACK"] * 5


# Header fields that repeat.


def test_fields_of_the_tables_are_read_anew_when_the_tables_change() -> None:
    peer = Peer(echoes=False)
    encoder = Encoder()
    for number, path in enumerate((b"/a", b"/a", b"/b", b"/a", b"/b", b"/c")):
        request = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"x", b"%d" % (number // 4)))
        for _ in range(2):
            block = encoder.encode(request)
            peer.send(headers(2 * len(peer.requests) + 1, block, end=True))
            assert peer.requests[-1].fields == request


# Leaving.


def test_a_session_that_drains_answers_what_is_on_its_way() -> None:
    peer = Peer(echoes=False)
    peer.send(headers(1, end=True))
    peer.session.drain()
    assert peer.received() == [f"GOAWAY {LARGEST} NO_ERROR", "PING"]
    ping = peer.raw[-17:]
    assert peer.send(headers(3, end=True), frame(frames.PING, frames.ACK, 0, ping[9:])) == ["GOAWAY 3 NO_ERROR"]
    assert peer.send(headers(5, end=True), data(5, b"x")) == []
    assert not peer.session.finished
    for request in peer.requests:
        request.answer(b"")
    assert peer.received() == ["HEADERS 1", "HEADERS 1 END", "HEADERS 3", "HEADERS 3 END"]
    assert peer.session.finished


# Any bytes.

CONVERSATION = b"".join(
    (
        GREETING, settings((frames.INITIAL_WINDOW_SIZE, 70)), WHOLE, frame(frames.PING, 0, 0, bytes(8)),
        headers(3, BLOCK[:4], complete=False), frame(frames.CONTINUATION, 4, 3, BLOCK[4:]),
        frame(frames.DATA, 0x8, 3, padded(b"more than seven", 9)), window_update(3, 100), data(3, end=True),
        headers(5), rst_stream(5, Code.CANCEL), headers(7, fields((b"te", b"x"))),
        headers(9) + data(9, bytes(20)), data(9, end=True), window_update(9, 13),
        frame(77, 0, 0, b"?"), window_update(0, 0),
    )
)  # fmt: skip


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=40).map(sorted))
def test_how_the_bytes_are_cut_changes_nothing(pieces: list[int]) -> None:
    whole, cut = Peer(greets=False), Peer(greets=False)
    expected = whole.send(CONVERSATION)
    assert cut.send_in_pieces(CONVERSATION, pieces) == expected
    assert expected[-1] == "GOAWAY 9 PROTOCOL_ERROR"
    assert [request.body for request in cut.requests] == [request.body for request in whole.requests]


def test_byte_by_byte_changes_nothing() -> None:
    assert Peer(greets=False).send_in_pieces(CONVERSATION, range(1, len(CONVERSATION))) == Peer(greets=False).send(
        CONVERSATION
    )


FRAMES = st.builds(
    frame, st.integers(0, 11), st.integers(0, 255), st.sampled_from([0, 1, 1, 3, 3, 5, 2, 2**31 - 1]),
    st.one_of(st.binary(max_size=40), st.just(BLOCK), st.just(struct.pack(">I", 9)), st.just(bytes(8))),
)  # fmt: skip


@given(st.lists(FRAMES, max_size=30).map(b"".join))
def test_no_frames_do_more_than_end_the_connection(sent: bytes) -> None:
    peer = Peer()
    received = peer.send(sent)
    assert peer.session.closed == any(each.startswith("GOAWAY") for each in received)
    assert peer.session.sender.waiting_bytes == sum(len(stream.rest) for stream in peer.session.streams.values())


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_do_more_than_end_the_connection(sent: bytes, greeted: bool) -> None:  # noqa: FBT001
    peer = Peer(greets=False)
    received = peer.send((GREETING if greeted else b"") + sent)
    assert peer.session.closed == any(each.startswith("GOAWAY") for each in received)


@given(st.binary(max_size=100))
def test_no_header_block_does_more_than_end_the_connection(block: bytes) -> None:
    peer = Peer()
    received = peer.send(headers(1, block, end=True))
    assert received[0].split()[0] in ("GOAWAY", "RST_STREAM", "HEADERS")
