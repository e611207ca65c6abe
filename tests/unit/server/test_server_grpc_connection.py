"""One connection of the gRPC server, with a clock that only a test moves and a network that is a list."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.http2_peer import GREETING, POST, data, headers
from tests.unit.server.http2_wire import Wire

from modelyard_server import http2_frames as frames
from modelyard_server.errors import RequestError
from modelyard_server.grpc_call import Call
from modelyard_server.grpc_message import prefixed
from modelyard_server.http2_fields import encoded
from modelyard_server.http2_frames import LARGEST, Code, rst_stream, settings, window_update
from modelyard_server.http_messages import Limits

GRPC = (*POST, (b"content-type", b"application/grpc"))
NOTHING = (*GRPC[:2], (b":path", b"/nothing"), GRPC[4])
ANSWER = ["HEADERS 1", "DATA 1 7", "HEADERS 1 END"]
REFUSED = ["HEADERS 1 END", "RST_STREAM 1 NO_ERROR"]
LARGE = 20 * 1024 * 1024


class Echoes:
    """Answers with the message, at once or when ``release`` is called."""

    most_bytes = 2 * LARGE

    def __init__(self, *, at_once: bool = True) -> None:
        self.held: list[tuple[Call, bytes]] = []
        self.refused: list[str] = []
        self.begun = self.ended = 0
        self.full = False
        self._at_once = at_once

    def begin(self, call: Call) -> None:
        self.begun += 1
        if call.head.path == b"/nothing":
            raise RequestError("nothing", 501)

    def hold(self, call: Call, size: int) -> None:
        if self.full:
            raise RequestError("full", 503)

    def handle(self, call: Call, message: bytes) -> None:
        self.held.append((call, message))
        if self._at_once:
            self.release()

    def release(self) -> None:
        call, message = self.held.pop(0)
        call.answer(message)

    def refuse(self, call: Call, error: Exception) -> None:
        assert isinstance(error, RequestError)
        self.refused.append(str(error))
        call.fail(2, str(error))

    def end(self, call: Call) -> None:
        self.ended += 1


def greeted(methods: Echoes, limits: Limits | None = None) -> Wire:
    wire = Wire(methods, limits)
    wire.send(GREETING)
    return wire


def ask(stream: int, message: bytes = b"hi", *fields: tuple[bytes, bytes]) -> bytes:
    return headers(stream, encoded([*GRPC, *fields])) + data(stream, prefixed(message), end=True)


def test_a_call_is_answered_in_one_write() -> None:
    wire = greeted(Echoes())
    before = wire.writes
    assert (wire.send(ask(1)), wire.writes - before) == (ANSWER, 1)


def test_calls_that_are_over_are_freed_at_once() -> None:
    """A server collects garbage rarely, and each of them holds a message."""
    methods = Echoes()
    wire = greeted(methods)
    gc.collect()
    gc.disable()
    try:
        wire.send(ask(1), headers(3, encoded(GRPC)), rst_stream(3, Code.CANCEL), headers(5, encoded(NOTHING)))
        assert (methods.begun, methods.ended) == (3, 3)
        assert [each for each in gc.get_objects() if isinstance(each, Call)] == []
    finally:
        gc.enable()


def test_answers_of_one_step_are_written_together() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    assert wire.send(ask(1), ask(3)) == []
    before = wire.writes
    methods.release()
    methods.release()
    assert (len(wire.taken()), wire.writes - before) == (6, 1)


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (headers(1, encoded([(b":method", b"GET"), *GRPC[1:]]), end=True), ["HEADERS 1 END"]),
        (headers(1, encoded(POST), end=True), ["HEADERS 1 END"]),
        (headers(1, encoded([*GRPC, (b"grpc-encoding", b"br")])), REFUSED),
        (ask(1, b"x", (b"a", b"b" * 33_000)), REFUSED),
        (ask(1, b"x", *[(b"a", b"b" * 500)] * 70), REFUSED),
        (
            headers(1, encoded(NOTHING)),
            REFUSED,
        ),
        (headers(1, encoded(GRPC)) + data(1, b"\0\xff\xff\xff\xff"), REFUSED),
        (headers(1, encoded(GRPC), end=True), ["HEADERS 1 END"]),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_block(sent: bytes, received: list[str]) -> None:
    methods = Echoes()
    wire = greeted(methods)
    big = len(sent) > 16_384
    if big:  # one frame holds no such block
        block = sent[9 : sent.index(data(1, prefixed(b"x"), end=True))]
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        sent = headers(1, pieces[0], complete=False) + b"".join(
            frames.frame(frames.CONTINUATION, 4 * (piece is pieces[-1]), 1, piece) for piece in pieces[1:]
        )
    assert wire.send(sent) == received
    assert methods.begun == methods.ended
    assert wire.send(ask(3))[0] == "HEADERS 3"


def test_a_message_that_there_is_no_room_for_is_refused_before_it_arrives() -> None:
    methods = Echoes()
    methods.full = True
    wire = greeted(methods)
    assert wire.send(headers(1, encoded(GRPC)), data(1, prefixed(bytes(9))[:6])) == [
        "HEADERS 1 END",
        "RST_STREAM 1 NO_ERROR",
    ]
    assert methods.refused == ["full"]


@pytest.mark.parametrize("sent", [rst_stream(1, Code.CANCEL), window_update(1, 0)])
def test_a_client_that_cancels_is_gone(sent: bytes) -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    dropped: list[str] = []
    wire.send(ask(1))
    call = methods.held[0][0]
    call.on_gone = lambda: dropped.append("job")
    wire.send(sent)
    assert (dropped, call.gone, methods.ended) == (["job"], True, 1)
    methods.release()
    assert wire.taken() == []


def test_a_connection_that_is_lost_takes_its_calls_along() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    wire.send(ask(1), ask(3))
    wire.close()
    assert (methods.ended, len(wire.endpoint.connections)) == (2, 0)
    methods.release()


def test_a_client_that_takes_no_answer_is_not_read_and_then_cut_off() -> None:
    methods = Echoes()
    wire = greeted(methods)
    wire.pauses_after = wire.writes + 1
    wire.send(ask(1))
    assert not wire.reading
    wire.pass_time(59)
    assert not wire.closed
    wire.pass_time(2)
    assert wire.closed


def test_an_answer_whose_window_stays_closed_is_given_up() -> None:
    wire = greeted(Echoes())
    wire.send(settings((frames.INITIAL_WINDOW_SIZE, 3)))
    assert wire.send(ask(1)) == ["HEADERS 1", "DATA 1 3"]
    wire.pass_time(59)
    assert wire.send(window_update(1, 1)) == ["DATA 1 1"]
    assert wire.pass_time(59) == []
    assert wire.pass_time(2) == ["RST_STREAM 1 CANCEL"]


def test_requests_wait_while_too_much_waits_for_the_client() -> None:
    methods = Echoes()
    wire = greeted(methods)
    wire.send(settings((frames.INITIAL_WINDOW_SIZE, 0)))
    wire.connection.session.sender.waiting_bytes += 33 * 1024 * 1024
    assert wire.send(ask(1)) == []
    assert wire.later == []
    wire.connection.session.sender.waiting_bytes -= 33 * 1024 * 1024
    assert wire.send(window_update(0, 1)) == ["HEADERS 1"]
    assert methods.ended == 1


# Time.


def test_a_client_has_little_time_to_greet() -> None:
    wire = Wire(Echoes())
    assert wire.pass_time(19) == ["SETTINGS", "WINDOW_UPDATE 0 16711681"]
    assert wire.pass_time(2) == ["GOAWAY 0 ENHANCE_YOUR_CALM"]
    assert wire.ended
    wire.pass_time(3)
    assert wire.closed


@pytest.mark.parametrize("sent", [headers(1)[:-1], headers(1, complete=False), b"\0"])
def test_a_frame_or_a_header_block_has_little_time_to_arrive(sent: bytes) -> None:
    wire = greeted(Echoes())
    wire.pass_time(60)
    wire.send(sent)
    wire.pass_time(19)
    assert not wire.ended
    assert wire.pass_time(2) == ["GOAWAY 0 ENHANCE_YOUR_CALM"]


def test_a_message_has_the_time_that_its_size_takes() -> None:
    methods = Echoes()
    wire = greeted(methods)
    wire.send(headers(1, encoded(GRPC)))
    wire.pass_time(29)
    wire.send(data(1, prefixed(bytes(LARGE))[:100]))
    alive = frames.frame(frames.PING, 1, 0, b"alive?  ")
    for _ in range(18):
        assert wire.pass_time(70) == []
        wire.send(alive)
    assert wire.pass_time(70) == REFUSED
    assert methods.refused == ["the request took too long to arrive"]


def test_a_deadline_that_passes_ends_the_call() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    wire.send(ask(1, b"hi", (b"grpc-timeout", b"3S")))
    assert methods.held[0][0].remaining() == 3
    assert wire.pass_time(2) == []
    assert wire.pass_time(2) == ["HEADERS 1 END"]
    assert methods.refused == ["the deadline of this request has passed"]
    methods.release()
    assert (wire.taken(), methods.ended) == ([], 1)


def test_an_idle_connection_is_closed_with_notice() -> None:
    wire = greeted(Echoes())
    wire.pass_time(70)
    assert wire.send(ask(1)) == ANSWER
    assert wire.pass_time(74) == []
    assert wire.pass_time(2) == [f"GOAWAY {LARGEST} NO_ERROR", "PING"]
    assert wire.pass_time(3) == ["GOAWAY 1 NO_ERROR"]
    wire.pass_time(3)
    assert wire.closed


def test_a_connection_with_a_call_stays_while_its_client_lives() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    wire.send(ask(1))
    for _ in range(10):
        assert wire.pass_time(74) == []
        assert wire.pass_time(2) == ["PING"]
        assert wire.send(frames.frame(frames.PING, 1, 0, b"alive?  ")) == []
    methods.release()
    assert wire.taken() == ANSWER


def test_a_client_that_shows_no_life_is_given_up() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    wire.send(ask(1))
    assert wire.pass_time(76) == ["PING"]
    wire.pass_time(19)
    assert not wire.closed
    wire.pass_time(2)
    assert (wire.closed, methods.ended) == (True, 1)


def test_a_connection_that_closes_answers_what_comes_until_its_client_knows() -> None:
    methods = Echoes(at_once=False)
    wire = greeted(methods)
    wire.connection.close()
    assert wire.taken() == [f"GOAWAY {LARGEST} NO_ERROR", "PING"]
    wire.send(ask(1))
    assert wire.send(frames.frame(frames.PING, 1, 0, b"draining")) == ["GOAWAY 1 NO_ERROR"]
    assert not wire.ended
    methods.release()
    assert wire.taken() == ANSWER
    assert wire.ended


def test_one_connection_too_many_is_sent_away() -> None:
    wire = Wire(Echoes(), Limits(connections=0))
    assert wire.taken()[-1] == "GOAWAY 0 ENHANCE_YOUR_CALM"
    assert wire.ended


FRAMES = st.builds(
    frames.frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.sampled_from([0, 1, 3, 5, 7]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([encoded(GRPC), encoded(POST), encoded(NOTHING), b""]),
        st.binary(max_size=20).map(prefixed),
    ),
)


@given(st.lists(FRAMES, max_size=30).map(b"".join), st.lists(st.integers(1, 80), max_size=3))
def test_no_frames_do_more_than_end_the_connection(sent: bytes, seconds: list[int]) -> None:
    methods = Echoes()
    wire = greeted(methods)
    wire.send(sent)
    for each in seconds:
        wire.pass_time(each)
    if not wire.closed:
        wire.close()
    assert methods.begun == methods.ended
