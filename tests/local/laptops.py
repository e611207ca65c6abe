"""The ``modelyard`` command on a state folder of the test's own, and objects to run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEADLINE = 240.0
EXAMPLE = Path(__file__).parents[2] / "docs/examples/digits/digits.yaml"

Object = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass
class Laptop:
    """One state folder, and the commands run on it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``modelyard ...`` and return at once."""
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "MODELYARD_STATE": str(self.state)},
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for a started command."""
        out, err = process.communicate(timeout=DEADLINE)
        return Result(process.returncode, out, err)

    def __call__(self, *arguments: str) -> Result:
        """Run ``modelyard ...`` to its end."""
        return self.finish(self.start(*arguments))

    def file(self, *objects: Object, name: str = "objects.yaml") -> str:
        """Write objects to a file; returns its path."""
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        return str(path)

    def get(self, what: str) -> Object:
        """An object as the command shows it; empty while there is none."""
        result = self("get", what, "-o", "json")
        found: Object = json.loads(result.out) if result.code == 0 else {}
        return found

    def status(self, what: str) -> Object:
        """The status of an object."""
        found: Object = self.get(what).get("status", {})
        return found

    def condition(self, what: str, kind: str) -> Object:
        """One condition of an object, or empty."""
        conditions: list[Object] = self.status(what).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until ``true()``; fails after the deadline."""
        end = time.monotonic() + DEADLINE
        while not true():
            assert time.monotonic() < end, "not within the deadline"
            time.sleep(0.1)

    def rank(self, number: int) -> int:
        """The process of a rank."""
        names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in self.processes()}
        return names[f"rank {number}"]

    def processes(self) -> dict[int, dict[str, str]]:
        """The processes that belong to this state folder's pods, with their environment."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                pairs = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            environment = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs if pair)
            if environment.get("MODELYARD_ROOT", "").startswith(str(self.state.resolve())):
                found[int(folder.name)] = environment
        return found


def example() -> list[Object]:
    """The objects of the digits example."""
    return list(yaml.safe_load_all(EXAMPLE.read_text()))


def claim(name: str = "models") -> Object:
    """A PersistentVolumeClaim."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {}}


def code(text: str, name: str = "code") -> Object:
    """A ConfigMap with one script, train.py."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": text}}


def training(name: str = "toy", **spec: Any) -> Object:
    """A TrainingJob of the script train.py that publishes to the claim ``models``; no restarts unless asked for."""
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py"},
            "output": {"uri": f"pvc://models/{name}"},
            "restart": {"maxRestarts": 0},
            **spec,
        },
    }
