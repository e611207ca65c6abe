"""From start to exit: load beside a server that already answers, be ready, and on SIGTERM drain."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from modelyard.contract import layout
from modelyard.contract.runs import ServeRun
from modelyard_server.announcement import announce
from modelyard_server.app import App
from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_exchange import Handler
from modelyard_server.http_messages import Limits
from modelyard_server.http_server import listening
from modelyard_server.security import Tls, Token
from modelyard_server.service import Service

if TYPE_CHECKING:
    from modelyard_server.grpc_server import GrpcServer
    from modelyard_server.tracing import Traces

log = logging.getLogger(__name__)

_RECEIVER_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's; where one is set, traces are sent."""


async def serve(run: ServeRun, listener: socket.socket) -> None:
    """Serve ``run`` on ``listener``, and gRPC on the same host, until SIGTERM or SIGINT, then drain and return.

    Not ready from the signal on, but serving for ``pre_stop_seconds``; then no new connection, and at most
    ``grace_seconds`` for the requests in flight. Raises StorageError and StartError when the model does not load.
    """
    start = time.monotonic()
    asked_to_stop = _signals()
    service = Service(run)
    secrets = layout.root() / layout.SECRETS
    token = Token(secrets / run.token_secret / layout.TOKEN_KEY) if run.token_secret else None
    tls, grpc_tls = (
        (Tls(secrets / run.tls_secret, protocol) if run.tls_secret else None) for protocol in ("http/1.1", "h2")
    )
    app: Handler = App(service, token)
    endpoint = Endpoint(app, Limits(body=run.max_payload_bytes), asyncio.get_running_loop().time)
    async with contextlib.AsyncExitStack() as stack:
        service.traces = stack.enter_context(_traces(run))
        http = await stack.enter_async_context(listening(endpoint, listener, tls, token))
        stack.callback(service.close)
        grpc = await stack.enter_async_context(_grpc(service, listener, grpc_tls, token)) if run.grpc else None
        loading = asyncio.create_task(service.start())
        stopping = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            log.info("%s %s: stopped while loading", run.name, service.version)
            return
        loading.result()
        _settle_memory()
        if grpc is not None:
            grpc.set_ready(ready=True)
        log.info("%s %s: ready after %.1f s", run.name, service.version, time.monotonic() - start)
        if service.tuning is not None:
            announce(service.model, service.tuning)
        await stopping
        service.stop()
        if grpc is not None:
            grpc.set_ready(ready=False)
        await asyncio.sleep(run.pre_stop_seconds)
        draining = [http.drain(run.grace_seconds)]
        if grpc is not None:
            draining.append(grpc.drain(run.grace_seconds))
        await asyncio.gather(*draining)
    log.info("%s %s: stopped", run.name, service.version)


def _traces(run: ServeRun) -> "contextlib.AbstractContextManager[Traces | None]":
    if not any(os.environ.get(name) for name in _RECEIVER_VARIABLES):
        return contextlib.nullcontext()
    # Its import takes half a second, which a server without traces need not pay.
    from modelyard_server.tracing import tracing  # noqa: PLC0415

    return tracing(run)


def _grpc(
    service: Service, listener: socket.socket, tls: Tls | None, token: Token | None
) -> "contextlib.AbstractAsyncContextManager[GrpcServer]":
    # Its import takes a twentieth of a second, which a server without gRPC need not pay.
    from modelyard_server.grpc_server import grpc_listening  # noqa: PLC0415

    host = str(listener.getsockname()[0])
    return grpc_listening(service, f"{host}:{layout.GRPC_PORT}", tls, token)


def _signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        log.info("%s received", number.name)
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return asked_to_stop


def _settle_memory() -> None:
    """Have the collector leave alone what was made at start, and come seldom: a request makes no cycles that stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
