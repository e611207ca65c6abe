"""Our server as a process, for one of the models."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.conformance.models import MODELS

from modelyard.contract import layout
from modelyard.contract.artifact import MODEL_FILE, Lineage
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.storage import artifacts

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


def publish_model(name: str, folder: Path) -> ServeRun:
    """Publish one of the models into an empty folder; the run file of a server for it."""
    source = MODELS[name]
    directory = folder / "source"
    directory.mkdir()
    (directory / MODEL_FILE).write_bytes(source.onnx())
    lineage = Lineage(kind="TrainingJob", name=name, namespace="test", spec_digest=digest_of_bytes(b""))
    manifest = artifacts.manifest_of(directory, source.inputs, source.outputs, {}, {}, lineage)
    artifact = artifacts.publish(directory, manifest, f"file://{folder / 'store'}")
    return ServeRun(name=name, artifact=ArtifactPlace(uri=artifact.uri, digest=artifact.digest))


def start_server(run: ServeRun, root: Path, host: str, environment: Mapping[str, str]) -> Server:
    """A server of ``run`` on ``host``, with an empty folder for its pod."""
    (root / layout.CONFIG).mkdir()
    (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard_server"],
        env=os.environ | {layout.ROOT_VARIABLE: str(root), layout.HOST_VARIABLE: host, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    return Server(process, root, host)
