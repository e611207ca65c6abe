"""The operator as a process that is measured: reconciles, memory, and when it has caught up."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

COUNTED = str(Path(__file__).with_name("counted_operator.py"))
CAUGHT_UP = "all objects are visited"
COUNTER = "BENCHMARK_COUNTER"


class MeasuredOperator:
    """``python -m modelyard.app`` with a counter of its reconciles. Use as a context manager."""

    def __init__(self, kubeconfig: Path, folder: Path, namespace: str = "") -> None:
        """With a namespace, it watches that alone."""
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "operator.log"
        self._counter = folder / "reconciles"
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "MODELYARD_NAMESPACES": namespace,
            COUNTER: str(self._counter),
        }

    def __enter__(self) -> Self:
        self._counter.write_bytes(bytes(8))
        self.log.write_bytes(b"")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, COUNTED],
                env={**self._environment, "MODELYARD_PROBE_PORT": str(port)},
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def caught_up(self) -> bool:
        """Whether it has visited all that was there at its start. Raises RuntimeError when it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended:\n{self.log.read_text()[-2000:]}")
        return CAUGHT_UP in self.log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def reconciles(self) -> int:
        return int(struct.unpack("<Q", self._counter.read_bytes())[0])

    def memory(self) -> tuple[int, int]:
        """Resident bytes: now, and at most so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        return 1024 * int(fields["VmRSS"][0]), 1024 * int(fields["VmHWM"][0])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
