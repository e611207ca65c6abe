"""From start to exit: load beside a server that already answers, be ready, and on SIGTERM drain."""

import asyncio
import logging
import signal
import socket
import time
from types import FrameType

import uvicorn

from modelyard.contract.runs import ServeRun
from modelyard_server.app import App
from modelyard_server.metrics import Metrics
from modelyard_server.service import Service

log = logging.getLogger(__name__)

# Longer than proxies keep idle connections (60 s as a rule), so that it is never the server that closes one in use.
_KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """uvicorn, except that a signal only sets ``asked_to_stop``, and is not raised again at the end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.asked_to_stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask to stop; the signature is uvicorn's."""
        del frame
        log.info("%s received", signal.Signals(sig).name)
        self._loop.call_soon_threadsafe(self.asked_to_stop.set)


async def serve(run: ServeRun, listener: socket.socket) -> None:
    """Serve ``run`` on ``listener`` until SIGTERM or SIGINT, then drain and return.

    Not ready from the signal on, but serving for ``pre_stop_seconds``; then no new connection, and at most
    ``grace_seconds`` for the requests in flight. Raises StorageError and StartError when the model does not load.
    """
    start = time.monotonic()
    service = Service(run)
    server = _Server(
        uvicorn.Config(
            App(service, Metrics(service)),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=run.grace_seconds,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    loading = asyncio.create_task(service.start())
    stopping = asyncio.create_task(server.asked_to_stop.wait())
    try:
        await asyncio.wait((loading, stopping, serving), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            log.info("%s %s: ready after %.1f s", run.name, service.version, time.monotonic() - start)
            await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
            service.stopping = True
            await asyncio.sleep(run.pre_stop_seconds)
    finally:
        server.force_exit = not loading.done() or loading.exception() is not None
        server.should_exit = True
        await serving
    log.info("%s %s: stopped", run.name, service.version)
