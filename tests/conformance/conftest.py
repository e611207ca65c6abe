"""Servers for the models for them: ours as processes, or any other server at OIP_URL that holds the same models."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.conformance.checks import Place
from tests.conformance.models import MODELS

from modelyard.contract import layout
from modelyard.contract.artifact import MODEL_FILE, Lineage
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.storage import artifacts

URL_VARIABLE = "OIP_URL"
GRPC_VARIABLE = "OIP_GRPC"
DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """One ``python -m modelyard_server``, and the folder that stands for its pod."""

    process: subprocess.Popen[str]
    root: Path
    host: str

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{layout.SERVER_PORT}"

    def wait_until_ready(self) -> None:
        """Return when the server is ready; fail when it exits or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self.answers("/v2/health/ready", 200):
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, "not ready in time"
            time.sleep(0.02)

    def answers(self, path: str, status: int) -> bool:
        """Whether a GET is answered with that status."""
        try:
            return httpx.get(self.url + path).status_code == status
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def termination(self) -> Termination:
        """The termination message."""
        return Termination.model_validate_json((self.root / layout.TERMINATION_LOG).read_text())


Start = Callable[..., Server]
Publish = Callable[[str], ServeRun]


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publishes one of the models, and gives the run file of a server for it."""

    def published(name: str) -> ServeRun:
        directory = tmp_path_factory.mktemp(name)
        source = MODELS[name]
        (directory / MODEL_FILE).write_bytes(source.onnx())
        lineage = Lineage(kind="TrainingJob", name=name, namespace="test", spec_digest=digest_of_bytes(b""))
        manifest = artifacts.manifest_of(directory, source.inputs, source.outputs, {}, {}, lineage)
        artifact = artifacts.publish(directory, manifest, f"file://{tmp_path_factory.mktemp('store')}")
        return ServeRun(name=name, artifact=ArtifactPlace(uri=artifact.uri, digest=artifact.digest))

    return published


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a server for a run file, each on an address that no other process of a test run uses."""
    pid = os.getpid()
    numbers = itertools.count(1)
    servers: list[Server] = []

    def started(run: ServeRun, host: str | None = None, environment: Mapping[str, str] | None = None) -> Server:
        root = tmp_path_factory.mktemp("pod")
        (root / layout.CONFIG).mkdir()
        (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
        host = host or f"127.{64 + pid // 256 % 128}.{pid % 256}.{next(numbers)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_server"],
            env=os.environ | {layout.ROOT_VARIABLE: str(root), layout.HOST_VARIABLE: host, **(environment or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(Server(process, root, host))
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
