"""Metrics over HTTP, from the event loop that counts: nothing changes while they are written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


class MetricsPortError(Exception):
    """The port cannot be had."""


@asynccontextmanager
async def served(registry: CollectorRegistry, port: int) -> AsyncIterator[None]:
    """Serve ``/metrics`` on all addresses meanwhile. Raises MetricsPortError."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104  scraped from other pods
        except OSError as error:
            raise MetricsPortError(f"MODELYARD_METRICS_PORT: {port} cannot be listened on: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
