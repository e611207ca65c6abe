"""Services as local ports: connections to 127.0.0.1 are handed to the ready pods in turn."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self

REFUSAL = b'{"error":"no pod of this service is ready"}'
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL), REFUSAL)
)
LOOPBACK = "127.0.0.1"


class LocalPort:
    """One Service: a listening port, and the backends that connections go to."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self.backends: Sequence[tuple[str, int]] = ()
        self._turn = 0
        self._open: set[asyncio.Task[None]] = set()

    @classmethod
    async def listen(cls, port: int) -> Self:
        """Listen on a port of the loopback address, 0 for any free one. Raises OSError when it is in use."""
        local = cls()
        local._server = await asyncio.start_server(local._accept, LOOPBACK, port)
        return local

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Stop listening and end open connections."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = await self._connect()
        if backend is None:
            await reader.read(65536)  # a client that is still writing would see a reset, not the answer
            writer.write(_ANSWER)
            await writer.drain()
            return
        backend_reader, backend_writer = backend
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, backend_writer))
                pumps.create_task(_pump(backend_reader, writer))
        finally:
            backend_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next backend that takes one."""
        for _ in range(len(self.backends)):
            self._turn += 1
            host, port = self.backends[self._turn % len(self.backends)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, port)
        return None


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then say so to the target."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()
