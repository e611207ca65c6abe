import asyncio
import gc
import json
from collections.abc import Iterator

import numpy as np
import pytest
from tests.unit.server.wire import Wire, request

from modelyard_server.app import App
from modelyard_server.http_exchange import Exchange
from modelyard_server.service import Service

INFER, PREDICT = "/v2/models/digits/infer", "/v1/models/digits:predict"
IMAGE = {"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2]}
PIXELS = np.arange(4, dtype="<f4").tobytes()
HEAD = json.dumps({"inputs": [IMAGE | {"parameters": {"binary_data_size": 16}}]}).encode()
REQUESTS = {
    "JSON": request("POST", INFER, json.dumps({"inputs": [IMAGE | {"data": [1, 2, 3, 4]}]}).encode()),
    "binary": request("POST", INFER, HEAD + PIXELS, [("Inference-Header-Content-Length", str(len(HEAD)))]),
    "raw": request("POST", INFER, PIXELS, [("Inference-Header-Content-Length", "0")]),
    "v1": request("POST", PREDICT, b'{"instances": [[[[1, 2], [3, 4]]]]}'),
    "malformed": request("POST", INFER, b"{"),
    "of wrong size": request("POST", INFER, PIXELS[:7], [("Inference-Header-Content-Length", "0")]),
    "unknown": request("GET", "/v2/models/other"),
    "document": request("GET", "/v2/models/digits"),
}


@pytest.fixture
def cycles() -> Iterator[list[object]]:
    """What only the search for cycles would free, once the test is done: it comes seldom, and bodies are large."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("name", REQUESTS)
async def test_nothing_of_a_request_stays(name: str, either_service: Service, cycles: list[object]) -> None:
    wire = Wire(App(either_service))
    await ask(wire, REQUESTS[name])
    gc.collect()
    cycles.clear()
    for _ in range(3):
        await ask(wire, REQUESTS[name])
    gc.collect()
    assert cycles == []


async def test_nothing_stays_of_a_request_whose_client_left(either_service: Service, cycles: list[object]) -> None:
    app = App(either_service)
    wire = Wire(app)
    wire.send(REQUESTS["binary"])
    wire.hang_up()
    await ask(Wire(app), REQUESTS["JSON"])
    del wire
    gc.collect()
    assert [each for each in cycles if isinstance(each, Exchange)] == []


async def ask(wire: Wire, data: bytes) -> None:
    """Send ``data``, and wait for an answer."""
    wire.answered.clear()
    wire.send(data)
    await asyncio.wait_for(wire.answered.wait(), 30)
    wire.taken()
