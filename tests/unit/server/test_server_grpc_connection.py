"""Calls on one connection of the gRPC server, on a network that is a list."""

import gc

import pytest
from tests.unit.server.grpc_echoes import ANSWER, GRPC, NOTHING, REFUSED, Echoes, ask, greeted
from tests.unit.server.http2_peer import POST, data, headers

from modelyard_server import http2_frames as frames
from modelyard_server.grpc_call import Call
from modelyard_server.grpc_message import prefixed
from modelyard_server.http2_fields import encoded
from modelyard_server.http2_frames import Code, rst_stream, settings, window_update


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
        assert [each for each in gc.get_objects() if type(each) is Call] == []
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
