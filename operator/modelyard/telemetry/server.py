"""Metrics and liveness over HTTP, from the event loop that they speak for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


class PortError(Exception):
    """A port cannot be had; the message names it."""


@asynccontextmanager
async def metrics_served(registry: CollectorRegistry, port: int) -> AsyncIterator[None]:
    """Serve ``/metrics`` on all addresses meanwhile. Raises PortError."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async with _served("/metrics", metrics, port):
        yield


@asynccontextmanager
async def probes_answered(port: int) -> AsyncIterator[None]:
    """Answer ``/healthz`` on all addresses meanwhile: the loop turns. Raises PortError."""

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async with _served("/healthz", healthy, port):
        yield


@asynccontextmanager
async def _served(
    path: str, answer: Callable[[web.Request], Awaitable[web.Response]], port: int
) -> AsyncIterator[None]:
    application = web.Application()
    application.router.add_get(path, answer)
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, port=port).start()
        except OSError as error:
            raise PortError(f"port {port} for {path} cannot be had: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
