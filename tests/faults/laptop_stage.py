"""A process cluster in this process, with its own controller, for tests that change objects while pods run."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.cli.session import Session
from stages import NAME, Object, Stage

T = TypeVar("T")


class LaptopStage(Stage):
    """Runs in a thread of its own until ``close``."""

    deadline = 300.0

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._loop = asyncio.new_event_loop()
        self._session = Session(self._state)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._work(),))
        self._thread.start()

    async def _work(self) -> None:
        async with self._session.working():
            await self._stop.wait()
            await self._session.stop_pods()

    def close(self) -> None:
        """End all pods and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def apply(self, *objects: Object) -> None:
        self._in_the_loop(self._submit(objects))

    async def _submit(self, objects: tuple[Object, ...]) -> None:
        self._session.submit(objects)

    def job(self) -> Object:
        return self.found("TrainingJob", NAME)

    def found(self, kind: str, name: str) -> Object:
        """Any object as it is now."""
        body = self._in_the_loop(self._get(ObjectKey(kind, "default", name)))
        assert body is not None
        return body

    def pod_logs(self) -> dict[str, str]:
        """What each pod printed so far, by its name."""
        logs = {pod.metadata.name: self._session.cluster.node.sandbox(pod).log for pod in self._every_pod()}
        return {name: log.read_text(errors="replace") if log.exists() else "" for name, log in logs.items()}

    async def _get(self, key: ObjectKey) -> Object | None:
        return self._session.cluster.store.get(key)

    def pods(self, attempt: int) -> list[Object]:
        return [pod.model_dump(mode="json") for pod in self._pods(attempt)]

    def _pods(self, attempt: int) -> list[Pod]:
        return [pod for pod in self._every_pod() if pod.metadata.labels["modelyard.dev/attempt"] == str(attempt)]

    def _every_pod(self) -> list[Pod]:
        async def look() -> list[Pod]:
            return list(self._session.cluster.store.every(Pod))

        return self._in_the_loop(look())

    def lose_pod(self, attempt: int, index: int) -> None:
        """SIGKILL what holds the pod's processes, as when power is lost."""
        self._kill(self._pod(attempt, index))

    def kill(self, name: str) -> None:
        """The same to a pod of any kind, by its name."""
        self._kill(next(pod for pod in self._every_pod() if pod.metadata.name == name))

    def _kill(self, pod: Pod) -> None:
        pid = self._session.cluster.node.sandbox(pod).shim_pid(0)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def _pod(self, attempt: int, index: int) -> Pod:
        return next(
            pod
            for pod in self._pods(attempt)
            if pod.metadata.annotations["batch.kubernetes.io/job-completion-index"] == str(index)
        )

    def log(self, attempt: int, index: int) -> str:
        return self._session.cluster.node.sandbox(self._pod(attempt, index)).log.read_text(errors="replace")

    def volume(self) -> Path:
        return self._state / "volumes" / "models"

    def _in_the_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
