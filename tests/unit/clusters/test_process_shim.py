"""The parent of a container's processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.clusters.process import shim

DEADLINE = 30.0
ORPHAN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("started", flush=True)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
print("started", flush=True)
while True: time.sleep(0.05)
"""


class Container:
    """A shim with one container."""

    def __init__(self, folder: Path, script: str, grace: int = 600) -> None:
        self.folder = folder
        spec = {
            "argv": [sys.executable, "-c", script],
            "env": {"PATH": os.environ["PATH"], "TEST_FOLDER": str(folder)},
            "cwd": str(folder),
            "log": str(folder / "log"),
            "state": str(folder / "state.json"),
            "exit": str(folder / "exit.json"),
            "graceSeconds": grace,
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        self.shim = subprocess.Popen([sys.executable, "-I", "-S", shim.__file__, str(folder / "spec.json")])

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def until_logged(self, words: str) -> None:
        end = time.monotonic() + DEADLINE
        while words not in self.log():
            assert time.monotonic() < end, self.log()
            time.sleep(0.01)

    def code(self) -> int:
        self.shim.wait(DEADLINE)
        code: int = json.loads((self.folder / "exit.json").read_text())["exitCode"]
        return code

    def processes(self) -> int:
        """Processes that carry this folder in their environment."""
        mark = f"TEST_FOLDER={self.folder}".encode()
        found = 0
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                found += mark in environment.read_bytes().split(b"\0")
            except OSError:
                continue
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    state = tmp_path / "state.json"
    if state.exists():
        pid = json.loads(state.read_text())["pid"]
        if shim.start_ticks(pid) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("script", "code"), [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.abort()", 134)])
def test_the_exit_code_is_written_down(folder: Path, script: str, code: int) -> None:
    assert Container(folder, script).code() == code


def test_what_the_container_leaves_behind_is_ended(folder: Path) -> None:
    container = Container(folder, ORPHAN)
    assert (container.code(), container.processes()) == (0, 0)


def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(folder: Path) -> None:
    container = Container(folder, DEAF, grace=0)
    container.until_logged("started")
    container.shim.send_signal(signal.SIGTERM)
    assert (container.code(), container.processes()) == (137, 0)


def test_a_second_sigterm_ends_the_grace(folder: Path) -> None:
    container = Container(folder, DEAF)
    container.until_logged("started")
    container.shim.send_signal(signal.SIGTERM)
    container.until_logged("told")
    container.shim.send_signal(signal.SIGTERM)
    assert container.code() == 137


def test_a_command_that_does_not_exist_is_said_in_the_log(folder: Path) -> None:
    container = Container(folder, "")
    container.shim.wait(DEADLINE)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, "argv": ["/no/such/program"]}))
    subprocess.run([sys.executable, "-I", "-S", shim.__file__, str(folder / "spec.json")], check=True)
    assert (container.code(), "cannot start" in container.log()) == (127, True)
