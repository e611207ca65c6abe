"""An API server whose answers go wrong as a test says: a proxy on loopback between an operator and the real one."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from control_plane import LOOPBACK, ControlPlane

PASSED_ON = ("Accept", "Content-Type")


@dataclass(frozen=True)
class Asked:
    """A request of the operator."""

    method: str
    path: str
    watch: bool

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True)
class Answer:
    """What the operator gets instead of the server's answer."""

    status: int
    body: dict[str, Any]


LOST = Answer(0, {})
"""The server does what it was asked for, and the connection breaks before its answer."""
GONE = Answer(200, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}})
"""What a watch shows when its resource version is too old."""

Fault = Callable[[Asked], Answer | None]


class FaultyApiServer:
    """A context manager; while it is open, ``kubeconfig`` leads through it."""

    def __init__(self, api_server: ControlPlane, folder: Path, fault: Fault) -> None:
        """``fault`` is asked once for each request, from another thread; None passes it on."""
        self.kubeconfig = folder / "faulty.kubeconfig"
        self._api_server = api_server
        self._fault = fault
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._watches: set[asyncio.Transport] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def break_watches(self) -> None:
        """End the connections of all watches that are open."""
        self._await(self._break_watches())

    def _await(self, coroutine: Any) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(30)

    async def _start(self) -> None:
        connector = TCPConnector(ssl=self._api_server.tls(), limit=0)
        self._session = ClientSession(self._api_server.url, connector=connector, timeout=ClientTimeout(total=None))
        application = web.Application(client_max_size=16 << 20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        port = self._runner.addresses[0][1]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "faulty", "cluster": {"server": f"http://{LOOPBACK}:{port}"}}],
            "users": [{"name": "anybody", "user": {}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "anybody"}}],
            "current-context": "faulty",
        }
        self.kubeconfig.write_text(json.dumps(config))

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _break_watches(self) -> None:
        for transport in self._watches:
            transport.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.method, request.path, watch="watch" in request.query)
        fault = self._fault(asked)
        if fault is not None and fault is not LOST:
            return web.Response(
                status=fault.status, text=json.dumps(fault.body) + "\n", content_type="application/json"
            )
        assert request.transport is not None
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with self._session.request(
            request.method, request.rel_url, data=await request.read() or None, headers=headers
        ) as answered:
            if fault is LOST:
                await answered.read()
                request.transport.abort()
                return web.Response()
            response = web.StreamResponse(status=answered.status, headers={"Content-Type": answered.content_type})
            await response.prepare(request)
            if asked.watch:
                self._watches.add(request.transport)
            try:
                async for chunk in answered.content.iter_any():
                    await response.write(chunk)
            finally:
                self._watches.discard(request.transport)
            return response
