import asyncio
import json
from collections.abc import Callable
from functools import partial

import pytest
from tests.unit.server.wire import Echo, Wire, answer, request

from modelyard_server.app import App
from modelyard_server.http_exchange import Exchange
from modelyard_server.http_messages import Response
from modelyard_server.resting import REST_SECONDS, RestingClients
from modelyard_server.service import Service

ASK = request(
    "POST",
    "/v2/models/digits/infer",
    json.dumps(
        {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [1, 2, 3, 4]}]}
    ).encode(),
)


class Clock:
    """Time that passes when told to, and what is due then."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, function))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [function for when, function in self._due if when <= self.now]
        self._due = [each for each in self._due if each[0] > self.now]
        for function in due:
            function()


class Crowded(Echo):
    """Has no room."""

    def __init__(self) -> None:
        super().__init__()
        self.resume: list[Callable[[], None]] = []

    def handle(self, exchange: Exchange) -> None:
        exchange.rest = self.resume.append
        exchange.answer(Response(503, (b"later",), b"text/plain"))


def test_who_waits_longest_is_read_first_and_nobody_waits_for_long() -> None:
    clock, read = Clock(), list[str]()
    resting = RestingClients(clock.later, lambda: clock.now)
    for name in "abcd":
        resting.add(partial(read.append, name))
        clock.pass_time(REST_SECONDS / 4)
    assert read == ["a"]
    resting.wake(1)
    assert read == ["a", "b"]
    clock.pass_time(REST_SECONDS / 4)
    assert (read, len(resting)) == (["a", "b"], 2)
    clock.pass_time(REST_SECONDS / 4)
    resting.wake(5)
    assert (read, len(resting)) == (["a", "b", "c", "d"], 0)
    resting.add(lambda: read.append("e"))
    clock.pass_time(REST_SECONDS * 3 / 4)
    assert read[-1] == "d"
    clock.pass_time(REST_SECONDS / 4)
    assert read[-1] == "e"


def test_a_refused_client_is_read_again_when_there_is_room() -> None:
    crowded = Crowded()
    wire = Wire(crowded)
    wire.send(request("GET", "/a"))
    assert (wire.taken(), wire.reading) == (answer(b"later", "503 Service Unavailable"), False)
    crowded.resume.pop()()
    assert wire.reading


def test_what_a_refused_client_sent_ahead_is_answered_but_makes_it_rest_once() -> None:
    crowded = Crowded()
    wire = Wire(crowded)
    wire.send(request("GET", "/a") * 2)
    assert wire.taken() == answer(b"later", "503 Service Unavailable") * 2
    assert (wire.reading, len(crowded.resume)) == (False, 1)


def test_a_refused_client_that_leaves_is_not_read_again() -> None:
    crowded = Crowded()
    wire = Wire(crowded)
    wire.send(request("GET", "/a"))
    wire.hang_up()
    crowded.resume.pop()()
    assert not wire.reading


def test_a_refused_client_that_is_to_go_is_let_go() -> None:
    crowded = Crowded()
    wire = Wire(crowded)
    wire.send(request("GET", "/a", headers=[("Connection", "close")]))
    assert (wire.taken(), crowded.resume) == (answer(b"later", "503 Service Unavailable", close=True), [])
    assert wire.closed


@pytest.mark.parametrize("by", ["a run of the model", "the end"])
async def test_clients_of_a_full_server_rest_until(service: Service, by: str) -> None:
    app = App(service)
    refused, other = Wire(app), Wire(app)
    service.most_in_flight, most = 0, service.most_in_flight
    refused.send(ASK)
    assert refused.taken().startswith(b"HTTP/1.1 503 ")
    assert not refused.reading
    service.most_in_flight = most
    if by == "the end":
        service.stop()
    else:
        other.send(ASK)
        await asyncio.wait_for(other.answered.wait(), 30)
    assert refused.reading
    refused.answered.clear()
    refused.send(ASK)
    await asyncio.wait_for(refused.answered.wait(), 30)
    assert refused.taken().startswith(b"HTTP/1.1 200 ")
