"""How long a connection of the gRPC server waits for what, by a clock that only a test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.server.grpc_echoes import ANSWER, GRPC, LARGE, NOTHING, REFUSED, Echoes, ask, greeted
from tests.unit.server.http2_peer import POST, data, headers
from tests.unit.server.http2_wire import Wire

from modelyard_server import http2_frames as frames
from modelyard_server.grpc_message import prefixed
from modelyard_server.http2_fields import encoded
from modelyard_server.http2_frames import LARGEST
from modelyard_server.http_messages import Limits


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
