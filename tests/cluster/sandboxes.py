"""One container as Modelyard's pods have it: read-only root, scratch folders, no capability, no network but its own."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engines import Engine, run

SECONDS = 300
HOSTNAME = "sandbox"
NAMESPACES = ("pid", "mount", "ipc", "uts")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str


class Sandbox(Protocol):
    """An image that can be run, and what it says of itself."""

    image: str
    config: Mapping[str, Any]
    """User, Env, Entrypoint and Labels, as in an OCI image's configuration."""

    def run(self, command: Sequence[str] = (), mounts: Mapping[Path, str] | None = None) -> Ended:
        """Run a command, by default the image's own, as the image's user; ``mounts`` are read-only."""


@contextmanager
def sandbox(engine: Engine, image: str, folder: Path) -> Iterator[Sandbox]:
    """The image, to be run by the engine that built it; ``folder`` is for what that takes."""
    if engine.name == "docker":
        yield DockerSandbox(image, folder)
        return
    container = run(["buildah", "from", "--pull-never", image]).strip()
    try:
        yield RuncSandbox(image, Path(run(["buildah", "mount", container]).strip()), folder)
    finally:
        run(["buildah", "rm", container])


class DockerSandbox:
    """Run by the Docker engine."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image = image
        self.folder = folder
        self.config = json.loads(run(["docker", "image", "inspect", image]))[0]["Config"]

    def run(self, command: Sequence[str] = (), mounts: Mapping[Path, str] | None = None) -> Ended:
        options = ["--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
        for source, target in _scratch(self.folder).items():
            options.append(f"--volume={source}:{target}")
        options += [f"--volume={source}:{target}:ro" for source, target in (mounts or {}).items()]
        if command:
            options.append(f"--entrypoint={command[0]}")
        return _ended(["docker", "run", *options, self.image, *command[1:]])


class RuncSandbox:
    """Run by runc on the mounted root of the image."""

    def __init__(self, image: str, root: Path, folder: Path) -> None:
        self.image = image
        self.root = root
        self.folder = folder
        self.config = json.loads(run(["buildah", "inspect", "--type=image", image]))["OCIv1"]["config"]

    def run(self, command: Sequence[str] = (), mounts: Mapping[Path, str] | None = None) -> Ended:
        bundle = self.folder / uuid.uuid4().hex
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._spec(command, mounts or {})))
        # The container shares the network of its parent, which has nothing but a loopback interface.
        inside = 'ip link set lo up && exec runc run --bundle "$0" "$1"'
        return _ended(["unshare", "--net", "sh", "-c", inside, str(bundle), f"modelyard-{bundle.name}"])

    def _hosts(self) -> Path:
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {HOSTNAME}\n")
        hosts.chmod(0o644)
        return hosts

    def _spec(self, command: Sequence[str], mounts: Mapping[Path, str]) -> dict[str, Any]:
        user, group = map(int, self.config["User"].split(":"))
        return {
            "ociVersion": "1.0.2",
            "hostname": HOSTNAME,
            "root": {"path": str(self.root), "readonly": True},
            "process": {
                "user": {"uid": user, "gid": group},
                "args": [*(command or self.config["Entrypoint"])],
                "env": self.config["Env"],
                "cwd": self.config["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "mode=1777"]},
                _bind(self._hosts(), "/etc/hosts", "ro"),
                *(_bind(source, target, "rw") for source, target in _scratch(self.folder).items()),
                *(_bind(source, target, "ro") for source, target in mounts.items()),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
        }


def _scratch(folder: Path) -> dict[Path, str]:
    """What a pod may write to: two empty folders, and the file that kubelet mounts for the last message."""
    fresh = folder / uuid.uuid4().hex
    scratch = {fresh / "tmp": "/tmp", fresh / "work": "/modelyard/work"}
    for path in scratch:
        path.mkdir(parents=True)
        path.chmod(0o777)
    log = fresh / "termination-log"
    log.touch()
    log.chmod(0o666)
    return {**scratch, log: "/modelyard/termination-log"}


def _bind(source: Path, target: str, access: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": str(source), "options": ["rbind", access]}


def _ended(command: Sequence[str]) -> Ended:
    piped = subprocess.PIPE
    done = subprocess.run(command, stdout=piped, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    return Ended(done.returncode, done.stdout)
