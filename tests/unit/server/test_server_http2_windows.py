"""RFC 9113: windows, floods, and that nothing a client sends does more than end its connection."""

import struct

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.http2_peer import BLOCK, GREETING, OPEN, WHOLE, Peer, data, fields, headers, padded

from modelyard_server import http2_frames as frames
from modelyard_server.http2_frames import LARGEST, Code, frame, rst_stream, settings, window_update
from modelyard_server.http2_limits import SessionLimits


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


@given(sent=st.binary(max_size=200), greeted=st.booleans())
def test_no_bytes_do_more_than_end_the_connection(sent: bytes, *, greeted: bool) -> None:
    peer = Peer(greets=False)
    received = peer.send((GREETING if greeted else b"") + sent)
    assert peer.session.closed == any(each.startswith("GOAWAY") for each in received)


@given(st.binary(max_size=100))
def test_no_header_block_does_more_than_end_the_connection(block: bytes) -> None:
    peer = Peer()
    received = peer.send(headers(1, block, end=True))
    assert received[0].split()[0] in ("GOAWAY", "RST_STREAM", "HEADERS")
