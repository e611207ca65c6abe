"""Metrics over HTTP."""

import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from modelyard.telemetry.server import PortError, metrics_served


def free_port() -> int:
    with socket.create_server(("", 0)) as free:
        port: int = free.getsockname()[1]
        return port


async def test_what_was_counted_is_served_as_prometheus_reads_it() -> None:
    registry, port = CollectorRegistry(), free_port()
    Counter("visits", "Visits.", registry=registry).inc()
    async with (
        metrics_served(registry, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "visits_total 1.0" in (await answer.text()).splitlines()


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} for /metrics cannot be had: "):
            async with metrics_served(CollectorRegistry(), port):
                pass
