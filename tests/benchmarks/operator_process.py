"""The operator as a process that is measured: reconciles, memory, and when it has caught up."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from operators import Operator

CAUGHT_UP = "all objects are visited"


class MeasuredOperator:
    """``python -m modelyard.app`` as it is measured. Use as a context manager."""

    def __init__(self, kubeconfig: Path, folder: Path, namespace: str) -> None:
        """It watches that namespace alone."""
        folder.mkdir(parents=True, exist_ok=True)
        self._operator = Operator(kubeconfig, namespace, Path(tempfile.mkdtemp(dir=folder)))

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._operator.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._operator.stop()
        except subprocess.TimeoutExpired:
            self._operator.process.kill()
            self._operator.process.wait()

    def caught_up(self) -> bool:
        """Whether it has visited all that was there at its start. Raises RuntimeError when it has ended."""
        if not self._operator.running():
            raise RuntimeError(f"the operator ended:\n{self._operator.log()[-2000:]}")
        return CAUGHT_UP in self._operator.log()

    @property
    def pid(self) -> int:
        return self._operator.process.pid

    def reconciles(self) -> int:
        counts = self._operator.metrics()
        return int(sum(count for name, count in counts.items() if name.startswith("modelyard_reconcile_total{")))

    def memory(self) -> tuple[int, int]:
        """Resident bytes: now, and at most so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        return 1024 * int(fields["VmRSS"][0]), 1024 * int(fields["VmHWM"][0])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
