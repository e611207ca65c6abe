"""Servers for the models for them: ours as processes, or any other server at OIP_URL that holds the same models."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.conformance.checks import Place
from tests.conformance.models import MODELS
from tests.conformance.servers import Server, publish_model, start_server

from modelyard.contract import layout
from modelyard.contract.runs import ServeRun

URL_VARIABLE = "OIP_URL"
GRPC_VARIABLE = "OIP_GRPC"
Start = Callable[..., Server]
Publish = Callable[[str], ServeRun]


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publishes one of the models, and gives the run file of a server for it."""

    def published(name: str) -> ServeRun:
        return publish_model(name, tmp_path_factory.mktemp(name))

    return published


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a server for a run file, each on an address that no other process of a test run uses."""
    pid = os.getpid()
    numbers = itertools.count(1)
    servers: list[Server] = []

    def started(run: ServeRun, host: str | None = None, environment: Mapping[str, str] | None = None) -> Server:
        host = host or f"127.{64 + pid // 256 % 128}.{pid % 256}.{next(numbers)}"
        servers.append(start_server(run, tmp_path_factory.mktemp("pod"), host, environment or {}))
        return servers[-1]

    yield started
    for server in servers:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="session")
def places(publish: Publish, start: Start) -> Mapping[str, Place]:
    """Where a ready server is by the model that it holds."""
    if url := os.environ.get(URL_VARIABLE):
        return dict.fromkeys(MODELS, Place(url, os.environ.get(GRPC_VARIABLE)))
    servers = {name: start(publish(name)) for name in MODELS}
    for server in servers.values():
        server.wait_until_ready()
    return {name: Place(server.url, f"{server.host}:{layout.GRPC_PORT}") for name, server in servers.items()}


@pytest.fixture(scope="session")
def urls(places: Mapping[str, Place]) -> Mapping[str, str]:
    """The base URL of a ready server by the model that it holds."""
    return {name: place.url for name, place in places.items()}
