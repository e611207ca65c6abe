"""Listen for HTTP connections, keep their time, and let them go without a request lost."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from modelyard_server.http_connection import Connection
from modelyard_server.http_endpoint import BACKLOG, Endpoint, swept
from modelyard_server.http_exchange import Handler
from modelyard_server.security import Tls, Token

_HANDSHAKE_SECONDS = 10.0
_QUIET_SECONDS = 0.25
"""A client that has a connection open sends its next request within this time, or does not send one now."""
_POLL_SECONDS = 0.02


class HttpServer:
    """The listening socket and what came in by it."""

    def __init__(self, endpoint: Endpoint[Handler], server: asyncio.Server) -> None:
        self._endpoint = endpoint
        self._server = server

    async def drain(self, seconds: float) -> None:
        """Take no new connection, and wait for the present ones to end, which takes at most ``seconds``.

        A request may be on its way on an idle connection, so that one is closed a moment later only.
        """
        await asyncio.sleep(0)  # connections that wait to be accepted would be reset
        self._server.close()
        begun = self._endpoint.now()
        while self._endpoint.connections and (spent := self._endpoint.now() - begun) < seconds:
            if spent >= min(_QUIET_SECONDS, seconds / 2):
                self._endpoint.close_idle()
            await asyncio.sleep(_POLL_SECONDS)


@contextlib.asynccontextmanager
async def listening(
    endpoint: Endpoint[Handler], listener: socket.socket, tls: Tls | None = None, token: Token | None = None
) -> AsyncIterator[HttpServer]:
    """A server on ``listener``; what is still connected at the end is cut off."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(endpoint),
        sock=listener,
        backlog=BACKLOG,
        ssl=None if tls is None else tls.context,
        ssl_handshake_timeout=None if tls is None else _HANDSHAKE_SECONDS,
    )
    sweeping = asyncio.create_task(swept(endpoint, [each for each in (tls, token) if each is not None]))
    try:
        yield HttpServer(endpoint, server)
    finally:
        sweeping.cancel()
        server.close()
