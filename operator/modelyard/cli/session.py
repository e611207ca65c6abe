"""A foreground session with the process cluster: store the objects of a file, work until they are at rest."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.settings import Settings
from modelyard.cli.errors import BackgroundError, BadInput
from modelyard.cli.files import KINDS_BY_NAME
from modelyard.cli.verdict import verdict
from modelyard.clusters.process.addresses import can_bind
from modelyard.clusters.process.cluster import Change, ProcessCluster
from modelyard.clusters.process.lock import owned
from modelyard.clusters.process.proxy import LOOPBACK
from modelyard.clusters.process.store import ObjectStore
from modelyard.engine.admission import check
from modelyard.engine.controller import Controller
from modelyard.kinds import KINDS

SETTINGS = Settings()
OWN_IMAGES = frozenset({SETTINGS.trainer_image, SETTINGS.compressor_image, SETTINGS.server_image})

Bodies = Sequence[tuple[ObjectKey, JsonObject]]


@dataclass
class Attendance:
    """Who keeps a cluster going after this command."""

    goes_on: bool
    """Whether a background process will; at first, whether one did until now."""


@contextlib.contextmanager
def attended(state: Path) -> Iterator[Attendance]:
    """Own the cluster of ``state``; afterwards, however that ends, a background process goes on if ``goes_on``.

    Raises Busy, OSError.
    """
    attendance = Attendance(goes_on=False)
    try:
        with owned(state) as kept:
            attendance.goes_on = kept
            yield attendance
    finally:
        if attendance.goes_on:
            start_background(state)


class Interrupted(Exception):  # noqa: N818  a wish, not an error
    """The user asked to stop."""


class Session:
    """The process cluster of one state folder, run by this process. The caller holds its lock."""

    def __init__(self, state: Path, ports: dict[str, int] | None = None) -> None:
        """``ports`` asks for local ports for Services by name. Raises BadInput where one is in use."""
        self._state = state
        for name, port in (ports or {}).items():
            if not can_bind(LOOPBACK, port):
                raise BadInput(f"--port {port}: in use by another program; choose another port for {name}")
        self.cluster = ProcessCluster(state, OWN_IMAGES, ports or {})
        self._controller = Controller(KINDS, self.cluster, SETTINGS)

    def submit(self, bodies: Sequence[JsonObject]) -> list[tuple[ObjectKey, Change]]:
        """Store the objects of a file, all or none. Raises BadInput."""
        admit(bodies, self.cluster.store)
        return [(KubeObject.model_validate(body).key, self.cluster.submit(body)) for body in bodies]

    def bodies(self, keys: Sequence[ObjectKey]) -> list[tuple[ObjectKey, JsonObject]]:
        """The newest form of the objects that still exist."""
        return [(key, body) for key in keys if (body := self.cluster.store.get(key)) is not None]

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the cluster and the controller meanwhile. Raises an ExceptionGroup of what either of them raises."""
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self.cluster.run()), tasks.create_task(self._controller.run())]
            yield
            for task in work:
                task.cancel()

    def runs(self) -> bool:
        """Whether any pod has not ended."""
        return any(not pod.finished for pod in self.cluster.store.every(Pod))

    async def stop_pods(self) -> None:
        """End all pods, and let every object's status say so."""
        await self.cluster.stop_pods()
        await self._controller.visit_all()

    async def until_at_rest(self, keys: Sequence[ObjectKey], show: Callable[[Bodies], None], *, keep: bool) -> Bodies:
        """Work until all these objects are at rest, calling ``show`` at every change; returns them as they then are.

        After that, unless ``keep``, stop all pods. SIGINT and SIGTERM stop them at once and raise Interrupted.
        """
        with _on_signals() as interrupted:
            return await self._until_at_rest(keys, show, interrupted, keep=keep)

    async def _until_at_rest(
        self, keys: Sequence[ObjectKey], show: Callable[[Bodies], None], interrupted: asyncio.Event, *, keep: bool
    ) -> Bodies:
        async with self.working():
            rest = asyncio.create_task(self._rest(keys, show))
            stop = asyncio.create_task(interrupted.wait())
            await asyncio.wait([rest, stop], return_when=asyncio.FIRST_COMPLETED)
            found = self.bodies(keys)
            if interrupted.is_set() or not keep:
                await self.stop_pods()
            stop.cancel()
            if rest.done():
                rest.result()
            rest.cancel()
            await asyncio.gather(rest, stop, return_exceptions=True)
        if interrupted.is_set():
            raise Interrupted
        return found

    async def until_told(self, ready: Callable[[], None]) -> None:
        """Call ``ready`` once all is under control; work until SIGTERM, then leave the pods to whoever comes next."""
        with _on_signals() as told:
            async with self.working():
                await self._controller.first_pass()
                ready()
                await told.wait()

    async def _rest(self, keys: Sequence[ObjectKey], show: Callable[[Bodies], None]) -> None:
        await self._controller.first_pass()
        while True:
            found = self.bodies(keys)
            show(found)
            if _at_rest(found):
                await asyncio.sleep(0)  # what has just changed is queued
                await self._controller.visit_all()
                found = self.bodies(keys)
                if _at_rest(found):
                    show(found)
                    return
            await asyncio.sleep(0.1)


def admit(bodies: Sequence[JsonObject], store: ObjectStore) -> None:
    """Raise BadInput unless all these objects may be stored."""
    problems = check(bodies, KINDS_BY_NAME, store.get)
    if problems:
        raise BadInput(*(str(problem) for problem in problems))


def _at_rest(found: Bodies) -> bool:
    return all(verdict(body) != "working" for _, body in found)


@contextlib.contextmanager
def _on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def start_background(state: Path) -> None:
    """Start a process that keeps the cluster of ``state`` going after this one; return once it does.

    Raises BackgroundError when it cannot.
    """
    ready, told = os.pipe()
    with (state / "background.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "modelyard", "supervise", "--state", str(state), "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[told],
        )
    os.close(told)
    with os.fdopen(ready, "rb") as answer:
        if not answer.read(1):
            raise BackgroundError(f"the background process ended; {state / 'background.log'} says why")
