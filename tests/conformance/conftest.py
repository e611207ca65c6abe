"""Three models, and servers for them: ours as processes, or any other server at OIP_URL that holds the same models."""

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
from onnx import NodeProto, TensorProto, helper

from modelyard.contract import layout
from modelyard.contract.artifact import MODEL_FILE, Datatype, Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.storage import artifacts

URL_VARIABLE = "OIP_URL"
DEADLINE_SECONDS = 30
ONNX_TYPES: Mapping[str, int] = {
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "INT32": TensorProto.INT32,
}


@dataclass(frozen=True)
class ModelSource:
    """A model as a graph and a signature."""

    nodes: list[NodeProto]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]

    def onnx(self) -> bytes:
        """The ONNX file."""
        inputs, outputs = (
            [
                helper.make_tensor_value_info(
                    spec.name, ONNX_TYPES[spec.datatype], [None if size == -1 else size for size in spec.shape]
                )
                for spec in specs
            ]
            for specs in (self.inputs, self.outputs)
        )
        graph = helper.make_graph(self.nodes, "conformance", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        data: bytes = model.SerializeToString()
        return data


def tensor(name: str, datatype: Datatype, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=list(shape))


MODELS: Mapping[str, ModelSource] = {
    # Triton's examples and their clients use this one: sum and difference.
    "simple": ModelSource(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [tensor("INPUT0", "INT32", -1, 16), tensor("INPUT1", "INT32", -1, 16)],
        [tensor("OUTPUT0", "INT32", -1, 16), tensor("OUTPUT1", "INT32", -1, 16)],
    ),
    "double": ModelSource(
        [helper.make_node("Add", ["x", "x"], ["y"])], [tensor("x", "FP32", -1, 4)], [tensor("y", "FP32", -1, 4)]
    ),
    "types": ModelSource(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("flag", "text", "half")],
        [tensor("flag", "BOOL", -1), tensor("text", "BYTES", -1), tensor("half", "FP16", -1)],
        [tensor("flag_out", "BOOL", -1), tensor("text_out", "BYTES", -1), tensor("half_out", "FP16", -1)],
    ),
}


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

    def started(run: ServeRun, host: str | None = None) -> Server:
        root = tmp_path_factory.mktemp("pod")
        (root / layout.CONFIG).mkdir()
        (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
        host = host or f"127.{64 + pid // 256 % 128}.{pid % 256}.{next(numbers)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_server"],
            env=os.environ | {layout.ROOT_VARIABLE: str(root), layout.HOST_VARIABLE: host},
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
def urls(publish: Publish, start: Start) -> Mapping[str, str]:
    """The base URL of a ready server by the model that it holds."""
    if url := os.environ.get(URL_VARIABLE):
        return dict.fromkeys(MODELS, url)
    servers = {name: start(publish(name)) for name in MODELS}
    for server in servers.values():
        server.wait_until_ready()
    return {name: server.url for name, server in servers.items()}
