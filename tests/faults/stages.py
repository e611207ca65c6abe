"""Where a training is struck by faults: a process cluster in this process, or a real node. Both are used alike."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from survivor import SCRIPT
from waiting import until

Object = dict[str, Any]
NAME = "survivor"


class Stage(ABC):
    """One TrainingJob called ``survivor``, with its code and a claim, and what a test may do to it."""

    deadline: float
    """Seconds that anything may take."""

    @abstractmethod
    def apply(self, *objects: Object) -> None:
        """As ``kubectl apply``."""

    @abstractmethod
    def job(self) -> Object:
        """The TrainingJob as it is now."""

    @abstractmethod
    def pods(self, attempt: int) -> list[Object]:
        """The pods of one attempt, by index."""

    @abstractmethod
    def lose_pod(self, attempt: int, index: int) -> None:
        """Delete a pod, or take its processes away."""

    @abstractmethod
    def log(self, attempt: int, index: int) -> str:
        """What a pod printed."""

    def start(self, *arguments: str, **spec: Any) -> None:
        """Apply the job: two pods of two ranks, checkpoints and artefact on one claim, no wait before a restart."""
        self._spec = {
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py", "args": list(arguments)},
            "nodes": 2,
            "procsPerNode": 2,
            "checkpoint": {"uri": "pvc://models/checkpoints"},
            "output": {"uri": "pvc://models/out"},
            "restart": {"backoffSeconds": 0, "processRestarts": 0},
            **spec,
        }
        self.claim()
        self.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": {"train.py": SCRIPT}},
            self._body(),
        )

    def claim(self) -> None:
        """Apply the claim alone."""
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}}
        self.apply({**about, "spec": claim})

    def edit(self, **spec: Any) -> None:
        """Apply the job with some fields changed."""
        self._spec |= spec
        self.apply(self._body())

    def _body(self) -> Object:
        about = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": NAME}}
        return {**about, "spec": self._spec}

    def status(self) -> Object:
        found: Object = self.job().get("status") or {}
        return found

    @property
    def state(self) -> str:
        return str(self.status().get("state", ""))

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait until ``true()``; fails with the job's story when it is not in time."""
        try:
            until(true, what, self.deadline)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.status()}\n{self.story()}") from late

    def until_state(self, *states: str) -> Object:
        """Wait for one of the states; fails where the job ended in another."""

        def there() -> bool:
            state = self.state
            assert state in states or state not in ("Failed", "Complete"), f"ended as {state}"
            return state in states

        self.until(there, f"the state is {' or '.join(states)}")
        return self.status()

    def until_trained(self, attempt: int = 1, steps: int = 12) -> None:
        """Wait until that attempt has made so many steps, which leaves a checkpoint behind."""
        self._until_recorded(lambda made, step, _: made == attempt and step >= steps, f"step {steps}")

    def until_world(self, size: int) -> None:
        """Wait until the newest step was made by so many ranks."""
        self._until_recorded(lambda _, __, world: world == size, f"{size} ranks", newest=True)

    def _until_recorded(self, fits: Callable[[int, int, int], bool], what: str, *, newest: bool = False) -> None:
        """Wait for a step, or for the newest one, whose attempt, number and world size fit."""

        def there() -> bool:
            assert self.status().get("completionTime") is None, "over too early"
            made = [tuple(map(int, line.split()[:3])) for line in self.record().splitlines()]
            return any(fits(*each) for each in (made[-1:] if newest else made))

        self.until(there, what)

    @abstractmethod
    def volume(self) -> Path:
        """The folder of the claim on this machine."""

    def record(self) -> str:
        """The lines that rank 0 wrote: attempt, step, world size and time, in seconds, of each step made."""
        path = self.volume() / "record"
        return path.read_text() if path.is_file() else ""

    def kill_rank(self, rank: int) -> None:
        """SIGKILL the process of a rank."""
        os.kill(self.rank(rank), signal.SIGKILL)

    def rank(self, number: int) -> int:
        """The process of a rank on this machine."""
        return process_of_rank(number, f"PET_RDZV_ID={self.job()['metadata']['uid']}", self.deadline)

    def story(self) -> str:
        """What the pods of the newest attempts printed."""
        attempt = int(self.status().get("attempt", 1))
        found = []
        for number in range(max(1, attempt - 1), attempt + 1):
            for index, pod in enumerate(self.pods(number)):
                tail = "\n".join(self.log(number, index).splitlines()[-30:])
                found.append(f"--- {pod['metadata']['name']}\n{tail}")
        return "\n".join(found)


def process_of_rank(number: int, mark: str, seconds: float) -> int:
    """The process of a rank on this machine, by the name that it gave itself and a word of its environment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                named = (folder / "comm").read_text().strip() == f"rank {number}"
                if named and mark.encode() in (folder / "environ").read_bytes():
                    return int(folder.name)
            except OSError:
                continue
        time.sleep(0.02)
    raise AssertionError(f"no process of rank {number} with {mark}")
