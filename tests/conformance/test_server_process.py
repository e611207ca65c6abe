"""The server as a process: what it does not start with, and how it ends."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.contract import layout
from modelyard.contract.artifact import MANIFEST_FILE, MODEL_FILE
from modelyard.contract.runs import ServeRun

Publish = Callable[[str], ServeRun]
Start = Callable[..., Any]

PATH = "/v2/models/double/infer"
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def begin_request(server: Any) -> socket.socket:
    """A connection whose request the server has begun to read; its body is still to be sent."""
    connection = socket.create_connection((server.host, layout.SERVER_PORT), timeout=10)
    head = f"POST {PATH} HTTP/1.1\r\nHost: server\r\nContent-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(64).startswith(b"HTTP/1.1 100 ")
    return connection


def wait_until_closed(server: Any) -> None:
    """Return when the server accepts no connection any more."""
    try:
        while True:
            socket.create_connection((server.host, layout.SERVER_PORT), timeout=10).close()
    except ConnectionError:
        return


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (change_a_byte, MODEL_FILE, "DigestMismatch"),
        (change_a_byte, MANIFEST_FILE, "DigestMismatch"),
        (Path.unlink, MODEL_FILE, "ArtifactMissing"),
    ],
)
def test_a_damaged_artefact_is_never_served(
    publish: Publish, start: Start, damage: Callable[[Path], None], file: str, reason: str
) -> None:
    run = publish("double")
    damage(Path(run.artifact.uri.removeprefix("file://")) / file)
    server = start(run)
    while server.process.poll() is None:
        assert not server.answers("/v2/health/ready", 200)
    termination = server.termination()
    assert (server.process.returncode, termination.outcome, termination.reason) == (1, "Failed", reason)
    assert server.process.stderr.read() == f"{reason}: {termination.message}\n"


def test_an_address_in_use_is_said_in_one_line(publish: Publish, start: Start) -> None:
    server = start(publish("double"))
    server.wait_until_ready()
    second = start(publish("double"), host=server.host)
    assert second.process.wait(30) == 1
    message = f"{server.host}:8080 is in use; stop what listens there"
    assert second.process.stderr.read() == f"AddressInUse: {message}\n"
    assert (second.termination().reason, second.termination().message) == ("AddressInUse", message)


def test_a_request_in_flight_at_sigterm_completes(publish: Publish, start: Start) -> None:
    server = start(publish("double"))
    server.wait_until_ready()
    with begin_request(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        wait_until_closed(server)
        connection.sendall(BODY)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"data":[2.0,4.0,6.0,8.0]' in answer
    assert server.process.wait(30) == 0


def test_before_it_stops_a_server_is_not_ready_but_serves(publish: Publish, start: Start) -> None:
    server = start(publish("double").model_copy(update={"pre_stop_seconds": 1}))
    server.wait_until_ready()
    server.process.send_signal(signal.SIGTERM)
    while server.answers("/v2/health/ready", 200):
        pass
    ready, answer = httpx.get(f"{server.url}/v2/health/ready"), httpx.post(server.url + PATH, content=BODY)
    assert (ready.status_code, answer.status_code, answer.headers["connection"]) == (503, 200, "close")
    assert server.process.wait(30) == 0


def test_a_request_that_never_completes_ends_with_the_grace_period(publish: Publish, start: Start) -> None:
    server = start(publish("double").model_copy(update={"grace_seconds": 1}))
    server.wait_until_ready()
    with begin_request(server):
        assert server.stop() == 0


def test_a_chunked_body_over_the_limit_is_refused(publish: Publish, start: Start) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(1024)

    server = start(publish("double").model_copy(update={"max_payload_bytes": 4096}))
    server.wait_until_ready()
    answer = httpx.post(server.url + PATH, content=chunks())
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "body is larger than 4096 bytes; send fewer rows at once"},
    )
