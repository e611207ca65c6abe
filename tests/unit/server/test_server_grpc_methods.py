"""What the gRPC methods answer, and what a refusal leaves behind."""

import asyncio
import gc
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from hpack import Decoder
from tests.unit.server.http2_peer import GREETING, POST, data, headers
from tests.unit.server.http2_wire import Wire

from modelyard.contract.runs import ServeRun
from modelyard_server import grpc_codec
from modelyard_server import http2_frames as frames
from modelyard_server import open_inference_pb2 as messages
from modelyard_server.grpc_call import Call
from modelyard_server.grpc_health import Health
from modelyard_server.grpc_message import prefixed
from modelyard_server.grpc_methods import NAME, InferenceMethods
from modelyard_server.http2_fields import encoded
from modelyard_server.security import Token
from modelyard_server.service import Service

Answer = tuple[int, str, list[bytes]]


class Asked:
    """A client of the methods of ``service``."""

    def __init__(self, service: Service, token: Token | None = None) -> None:
        self.health = Health(("", NAME))
        self.wire = Wire(InferenceMethods(service, token, self.health))
        self.wire.send(GREETING)
        self.wire.raw = b""
        self._next = 1

    def ask(self, path: str, message: bytes, *fields: tuple[bytes, bytes]) -> int:
        """Make a call; the number of its stream."""
        number, self._next = self._next, self._next + 2
        pairs = [*POST[:2], (b":path", path.encode()), (b"content-type", b"application/grpc"), *fields]
        body = prefixed(message)
        pieces = [body[start : start + frames.FRAME_BYTES] for start in range(0, len(body), frames.FRAME_BYTES)]
        sent = [data(number, piece, end=piece is pieces[-1]) for piece in pieces]
        self.wire.send(headers(number, encoded(pairs)), *sent)
        return number

    def answer(self, number: int) -> Answer | None:
        """grpc-status, grpc-message and messages of a stream; None while it has not ended."""
        self.wire.taken()
        sent, found, bodies = self.wire.raw, dict[bytes, bytes](), b""
        while sent:
            word, _, stream = frames.HEAD.unpack_from(sent)
            payload, sent = sent[9 : 9 + (word >> 8)], sent[9 + (word >> 8) :]
            if stream == number and word & 0xFF == frames.HEADERS:
                found.update(Decoder().decode(payload, raw=True))
            elif stream == number and word & 0xFF == frames.DATA:
                bodies += payload
        if b"grpc-status" not in found:
            return None
        split = []
        while bodies:
            size = int.from_bytes(bodies[1:5], "big")
            split.append(bodies[5 : 5 + size])
            bodies = bodies[5 + size :]
        return int(found[b"grpc-status"]), found.get(b"grpc-message", b"").decode(), split


def image(name: str = "digits", rows: int = 1) -> bytes:
    raw = np.arange(4 * rows, dtype="<f4").tobytes()
    request = messages.ModelInferRequest(model_name=name, raw_input_contents=[raw])
    request.inputs.add(name="image", datatype="FP32", shape=[rows, 1, 2, 2])
    return request.SerializeToString()


INFER = f"/{NAME}/ModelInfer"


async def until_answered(asked: Asked, number: int) -> Answer:
    for _ in range(10_000):
        if (found := asked.answer(number)) is not None:
            return found
        await asyncio.sleep(0)
    raise AssertionError("no answer")


async def test_an_inference_gets_its_results_and_gives_its_place_back(service: Service) -> None:
    asked = Asked(service)
    status, _, (answer,) = await until_answered(asked, asked.ask(INFER, image()))
    response = messages.ModelInferResponse.FromString(answer)
    assert (status, response.raw_output_contents[0]) == (0, np.arange(0, 8, 2, dtype="<f4").tobytes())
    assert (service.in_flight, service.held, service.metrics.successes) == (0, 0, 1)


@pytest.mark.parametrize("rows", [1023, 1024, 3000])
async def test_a_long_message_is_read_where_it_lies(run: ServeRun, rows: int) -> None:
    service = Service(run)
    await service.start()
    asked = Asked(service)
    asked.wire.send(frames.window_update(0, 1 << 20))
    message = image(rows=rows)
    for _ in range(2):
        status, _, (answer,) = await until_answered(asked, asked.ask(INFER, message))
        response = messages.ModelInferResponse.FromString(answer)
        assert (status, response.raw_output_contents[0]) == (0, np.arange(0, 8 * rows, 2, dtype="<f4").tobytes())
    broken = await until_answered(asked, asked.ask(INFER, message[:-1]))
    assert broken == (3, f"the message is none that {INFER} takes", [])
    service.close()


@pytest.mark.parametrize(
    "message",
    [image(), image(rows=2000), image("nobody"), b"\xff"],
    ids=["short", "long", "of another model", "malformed"],
)
async def test_nothing_of_a_call_stays(either_service: Service, message: bytes) -> None:
    def calls() -> int:
        return sum(type(each) is Call for each in gc.get_objects())

    asked = Asked(either_service)
    gc.collect()
    gc.disable()  # what waits for it keeps its message until then
    before = calls()
    try:
        await until_answered(asked, asked.ask(INFER, message))
        assert calls() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("message", "status", "text"),
    [
        (b"\xff", 3, f"the message is none that {INFER} takes"),
        (image("nobody"), 5, "model 'nobody' is not served here; this server has 'digits'"),
        (messages.ModelInferRequest(model_name="digits").SerializeToString(), 3, "input 'image' is missing"),
    ],
)
async def test_a_refused_inference_is_counted_once_and_holds_nothing(
    service: Service, message: bytes, status: int, text: str
) -> None:
    asked = Asked(service)
    number = asked.ask(INFER, message)
    assert await until_answered(asked, number) == (status, text, [])
    assert (service.in_flight, service.held, service.metrics.failures) == (0, 0, 1)


async def test_a_message_that_is_announced_too_large_is_refused_at_once(service: Service) -> None:
    asked = Asked(service)
    pairs = [*POST[:2], (b":path", INFER.encode()), (b"content-type", b"application/grpc")]
    asked.wire.send(headers(1, encoded(pairs)), data(1, b"\0" + (70_000).to_bytes(4, "big")))
    text = "the message is larger than 69632 bytes; send fewer rows at once"
    assert (asked.answer(1), service.metrics.failures) == ((8, text, []), 1)


async def test_a_model_that_is_loading_is_unavailable(loading_service: Service) -> None:
    asked = Asked(loading_service)
    assert await until_answered(asked, asked.ask(INFER, image())) == (14, "model 'digits' is still loading", [])
    live = await until_answered(asked, asked.ask(f"/{NAME}/ServerLive", b""))
    ready = await until_answered(asked, asked.ask(f"/{NAME}/ServerReady", b""))
    assert (live[2], ready[2]) == ([b"\x08\x01"], [b""])
    assert loading_service.in_flight == 0


async def test_without_the_token_nothing_but_health_is_told(loading_service: Service, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    asked = Asked(loading_service, Token(file))
    assert (await until_answered(asked, asked.ask(f"/{NAME}/ServerLive", b"")))[0] == 16
    told = await until_answered(asked, asked.ask(f"/{NAME}/ServerLive", b"", (b"authorization", b"Bearer secret")))
    health = await until_answered(asked, asked.ask("/grpc.health.v1.Health/Check", b""))
    assert (told[0], health) == (0, (0, "", [b"\x08\x02"]))


async def test_more_calls_than_the_server_has_places_for_are_refused(loading_service: Service) -> None:
    asked = Asked(loading_service)
    for _ in range(loading_service.most_in_flight):
        asked.ask("/grpc.health.v1.Health/Watch", b"")
    refused = await until_answered(asked, asked.ask("/grpc.health.v1.Health/Check", b""))
    assert refused == (8, f"{loading_service.most_in_flight} calls are in flight; try again", [])


async def test_who_watches_is_told_of_each_change(loading_service: Service) -> None:
    asked = Asked(loading_service)
    number = asked.ask("/grpc.health.v1.Health/Watch", b"")
    for ready in (True, True, False):
        asked.health.set_ready(ready=ready)
    (call,) = asked.health.watching()
    call.fail(14, "stopping")
    assert asked.answer(number) == (14, "stopping", [b"\x08\x02", b"\x08\x01", b"\x08\x02"])
    assert asked.health.watching() == []


async def test_what_fails_inside_stays_inside(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> messages.ModelInferResponse:
        raise RuntimeError("secret")

    monkeypatch.setattr(grpc_codec, "encode", fail)
    asked = Asked(service)
    with caplog.at_level(logging.ERROR):
        status, text, bodies = await until_answered(asked, asked.ask(INFER, image()))
    assert (status, bodies) == (13, [])
    assert re.fullmatch("internal error; the server's log has it under [0-9a-f]{16}", text)
    assert "secret" in caplog.text
    assert (service.in_flight, service.metrics.failures) == (0, 1)


async def test_what_has_no_tensors_needs_no_large_message(loading_service: Service) -> None:
    asked = Asked(loading_service)
    pairs = [*POST[:2], (b":path", f"/{NAME}/ServerLive".encode()), (b"content-type", b"application/grpc")]
    asked.wire.send(headers(1, encoded(pairs)), data(1, b"\0" + (65_537).to_bytes(4, "big")))
    assert asked.answer(1) == (8, "the message is larger than 65536 bytes; send fewer rows at once", [])
