"""Processes that outlive the command that started them, known by pid and start time, and ended without mercy."""

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

RECORD = "processes.json"
SECONDS_TO_DIE = 20


class Processes:
    """The processes of one folder. Each has its log there, and the folder as its working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], *, dies_with_parent: bool = False) -> None:
        """Start one in the background. ``dies_with_parent``: also when this process is killed hard."""
        if dies_with_parent and (setpriv := shutil.which("setpriv")):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = child
        self._write(self._read() | {name: [child.pid, _start_time(child.pid)]})

    def kill(self, name: str) -> None:
        """End one with SIGKILL and wait until it is gone; nothing happens if it is not running."""
        record = self._read()
        if name in record:
            _kill(*record.pop(name))
            self._write(record)
        if child := self._children.pop(name, None):
            child.wait(SECONDS_TO_DIE)

    def kill_all(self) -> None:
        """End all, the latest first."""
        for name in reversed(self._read()):
            self.kill(name)

    def running(self, name: str) -> bool:
        """Whether the process that was started under this name still runs."""
        if child := self._children.get(name):
            return child.poll() is None
        pid, started = self._read().get(name, (0, 0))
        return bool(pid) and _start_time(pid) == started

    def pid(self, name: str) -> int:
        """Its process id; ``KeyError`` when it was never started."""
        return self._read()[name][0]

    def pids(self) -> dict[str, int]:
        """The process ids of all that were started and not ended."""
        return {name: pid for name, (pid, _) in self._read().items()}

    def log(self, name: str) -> Path:
        """What it said, over all its starts."""
        return self.folder / f"{name}.log"

    def end_of_log(self, name: str) -> str:
        """Its last lines, for a message."""
        return self.log(name).read_text(errors="replace")[-2000:]

    def _read(self) -> dict[str, tuple[int, int]]:
        with suppress(FileNotFoundError):
            return {name: (pid, started) for name, (pid, started) in json.loads(self._path.read_text()).items()}
        return {}

    def _write(self, record: Mapping[str, Sequence[int]]) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(record))
        part.replace(self._path)

    @property
    def _path(self) -> Path:
        return self.folder / RECORD


def _start_time(pid: int) -> int:
    """In clock ticks since the machine started; -1 when there is no such process, or only what its parent left."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    # The name, in parentheses, may hold anything; proc(5) numbers the start time 22 and what follows the name 3.
    state, *fields = text.rpartition(")")[2].split()
    return -1 if state == "Z" else int(fields[18])


def _kill(pid: int, started: int) -> None:
    """The handle is taken before the start time is compared, so that a reused pid is never hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _start_time(pid) == started:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            gone, _, _ = select.select([handle], [], [], SECONDS_TO_DIE)
            if not gone:
                raise TimeoutError(f"process {pid} survived SIGKILL for {SECONDS_TO_DIE} s")
    finally:
        os.close(handle)
