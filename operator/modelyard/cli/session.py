"""A foreground session with the process cluster: store the objects of a file, work until they are at rest."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey
from modelyard.api.settings import Settings
from modelyard.cli.errors import BadInput
from modelyard.cli.files import KINDS_BY_NAME
from modelyard.cli.verdict import verdict
from modelyard.clusters.process.addresses import can_bind
from modelyard.clusters.process.cluster import Change, ProcessCluster
from modelyard.clusters.process.proxy import LOOPBACK
from modelyard.engine.admission import check
from modelyard.engine.controller import Controller
from modelyard.kinds import KINDS

SETTINGS = Settings()
OWN_IMAGES = frozenset({SETTINGS.trainer_image, SETTINGS.compressor_image, SETTINGS.server_image})

Bodies = Sequence[tuple[ObjectKey, JsonObject]]


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
        problems = check(bodies, KINDS_BY_NAME, self.cluster.store.get)
        if problems:
            raise BadInput(*(str(problem) for problem in problems))
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

    async def stop_pods(self) -> None:
        """End all pods, and let every object's status say so."""
        await self.cluster.stop_pods()
        await self._controller.visit_all()

    async def until_at_rest(self, keys: Sequence[ObjectKey], show: Callable[[Bodies], None], *, keep: bool) -> Bodies:
        """Work until all these objects are at rest, calling ``show`` at every change; returns them as they then are.

        After that, unless ``keep``, stop all pods. SIGINT and SIGTERM stop them at once and raise Interrupted.
        """
        interrupted = _on_signals()
        async with self.working():
            rest = asyncio.create_task(self._rest(keys, show))
            stop = asyncio.create_task(interrupted.wait())
            await asyncio.wait([rest, stop], return_when=asyncio.FIRST_COMPLETED)
            found = self.bodies(keys)
            if interrupted.is_set() or not keep:
                await self.stop_pods()
            rest.cancel()
            stop.cancel()
            await asyncio.gather(rest, stop, return_exceptions=True)
        if interrupted.is_set():
            raise Interrupted
        return found

    async def until_told(self, ready: Callable[[], None]) -> None:
        """Call ``ready`` once all is under control; work until SIGTERM, then leave the pods to whoever comes next."""
        told = _on_signals()
        async with self.working():
            await self._controller.first_pass()
            ready()
            await told.wait()

    async def _rest(self, keys: Sequence[ObjectKey], show: Callable[[Bodies], None]) -> None:
        await self._controller.first_pass()
        while True:
            found = self.bodies(keys)
            show(found)
            if all(verdict(body) != "working" for _, body in found):
                return
            await asyncio.sleep(0.1)


def _on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told


def start_background(state: Path) -> None:
    """Start a process that keeps the cluster of ``state`` going after this one; return once it does.

    Raises RuntimeError when it cannot.
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
            raise RuntimeError(f"the background process ended; {state / 'background.log'} says why")
