"""Listen for gRPC on a port of its own in the same event loop: Open Inference Protocol v2 and health."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from modelyard_server.errors import StartError
from modelyard_server.grpc_call import Methods
from modelyard_server.grpc_connection import GrpcConnection
from modelyard_server.grpc_health import Health
from modelyard_server.grpc_methods import NAME, InferenceMethods
from modelyard_server.http2_limits import SessionLimits
from modelyard_server.http_endpoint import BACKLOG, Endpoint, swept
from modelyard_server.http_messages import Limits
from modelyard_server.security import Tls, Token
from modelyard_server.service import Service

_STREAMS = 100
"""Calls at once on a connection, or as many as may wait for the model; a client keeps back what is above."""
_HANDSHAKE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_STOPPING = "this server is stopping"


class GrpcServer:
    """The listening socket, what came in by it, and the health that the kubelet and proxies ask for."""

    def __init__(self, endpoint: Endpoint[Methods], server: asyncio.Server, health: Health) -> None:
        self._endpoint = endpoint
        self._server = server
        self._health = health

    def set_ready(self, *, ready: bool) -> None:
        """Say whether new requests should come here."""
        self._health.set_ready(ready=ready)

    async def drain(self, seconds: float) -> None:
        """Take no new connection, answer what is on its way, and wait at most ``seconds`` for the connections' end."""
        await asyncio.sleep(0)  # connections that wait to be accepted would be reset
        self._server.close()
        end = self._endpoint.now() + seconds
        for call in self._health.watching():
            call.fail(14, _STOPPING)
        while (connections := list(self._endpoint.connections)) and self._endpoint.now() < end:
            for connection in connections:
                connection.close()
            await asyncio.sleep(_POLL_SECONDS)


@contextlib.asynccontextmanager
async def grpc_listening(
    service: Service, address: str, tls: Tls | None = None, token: Token | None = None
) -> AsyncIterator[GrpcServer]:
    """A server on ``address`` (host:port); what is still connected at the end is cut off.

    ``token`` is refreshed by who made it. Raises StartError (AddressInUse).
    """
    loop = asyncio.get_running_loop()
    health = Health(("", NAME))
    limits = Limits(body=service.run.max_payload_bytes)
    endpoint: Endpoint[Methods] = Endpoint(InferenceMethods(service, token, health), limits, loop.time)
    session_limits = SessionLimits(streams=max(_STREAMS, service.run.batching.max_queue))
    host, _, port = address.rpartition(":")
    try:
        server = await loop.create_server(
            lambda: GrpcConnection(endpoint, session_limits, loop.call_soon),
            host.strip("[]"),
            int(port),
            backlog=BACKLOG,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else _HANDSHAKE_SECONDS,
        )
    except OSError as error:
        raise StartError("AddressInUse", f"{address} cannot be listened on; stop what listens there") from error
    sweeping = asyncio.create_task(swept(endpoint, () if tls is None else (tls,)))
    try:
        yield GrpcServer(endpoint, server, health)
    finally:
        sweeping.cancel()
        server.close()
