"""A connection without a network: bytes in, bytes out, and a clock that only a test moves."""

import asyncio
from collections.abc import Sequence
from typing import Any

import h11
import httpx

from modelyard_server.http_connection import Connection
from modelyard_server.http_endpoint import READ_BYTES, Endpoint
from modelyard_server.http_exchange import Exchange, Handler
from modelyard_server.http_messages import Limits, Response

DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


class Network(asyncio.Transport):
    """What asyncio's transports tell of themselves, and are told."""

    closed = False
    ended = False
    """Whether the server said that it writes no more."""
    reading = True
    half_close = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return self.half_close

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Wire(Network):
    """The client's end of one connection: what asyncio's transports do, with a list for a network."""

    def __init__(self, handler: Handler, limits: Limits | None = None, *, half_close: bool = True) -> None:
        super().__init__()
        self.now = 0.0
        self.sent = b""
        """What the server wrote."""
        self.answered = asyncio.Event()
        self.half_close = half_close
        self.endpoint = Endpoint(handler, limits or Limits(), lambda: self.now)
        self.endpoint.sweep(0)
        self.connection = Connection(self.endpoint)
        self.connection.connection_made(self)

    def send(self, data: bytes, piece: int = READ_BYTES) -> None:
        """Send ``data`` in pieces of at most ``piece`` bytes, as far as the server reads."""
        view = memoryview(data)
        while view and self.reading and not self.closed:
            buffer = self.connection.get_buffer(-1)
            count = min(len(buffer), len(view), piece)
            buffer[:count] = view[:count]
            self.connection.buffer_updated(count)
            view = view[count:]

    def taken(self) -> bytes:
        """What the server wrote since the last time, without its Date fields."""
        sent, self.sent = self.sent, b""
        return sent.replace(DATE, b"")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the endpoint look at its connections."""
        self.now += seconds
        self.endpoint.sweep(0)

    def hang_up(self) -> None:
        """The client closes."""
        self.closed = True
        self.connection.connection_lost(None)

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent += bytes(data)
        self.answered.set()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        if not self.closed:
            self.hang_up()

    abort = close


class Echo:
    """A handler that answers with the request's body, at once or when ``release`` is called."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.closing = False
        self.refusal: Response | None = None
        self.held: list[Exchange] = []
        self.ended: list[Exchange] = []
        self.chunked_limit = 64
        self._at_once = at_once

    def refuse(self, exchange: Exchange, size: int | None) -> Response | None:
        return self.refusal

    def hold(self, exchange: Exchange, size: int) -> Response | None:
        exchange.held += size
        return Response(413, (b"too large",)) if exchange.held > self.chunked_limit else None

    def handle(self, exchange: Exchange) -> None:
        self.held.append(exchange)
        if self._at_once:
            self.release()

    def release(self) -> None:
        """Answer the oldest request."""
        exchange = self.held.pop(0)
        exchange.answer(Response(200, (exchange.request.target, b" ", bytes(exchange.request.body)), b"text/plain"))

    def end(self, exchange: Exchange) -> None:
        self.ended.append(exchange)


def request(method: str, target: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", "Host: server", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(body: bytes, status: str = "200 OK", content_type: str = "text/plain", *, close: bool = False) -> bytes:
    """An answer as bytes, as ``Wire.taken`` gives it."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + (b"connection: close\r\n" if close else b"") + b"\r\n" + body


class WireTransport(httpx.AsyncBaseTransport):
    """httpx over a Wire, one for each request."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        client = h11.Connection(h11.CLIENT)
        body = await request.aread()
        target = request.url.raw_path
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"connection"]
        data = client.send(h11.Request(method=request.method, target=target, headers=headers)) or b""
        data += (client.send(h11.Data(data=body)) or b"") + (client.send(h11.EndOfMessage()) or b"")
        wire = Wire(self._handler)
        wire.send(data)
        await wire.answered.wait()
        client.receive_data(wire.sent)
        head = client.next_event()
        assert isinstance(head, h11.Response)
        content = b""
        while isinstance(event := client.next_event(), h11.Data):
            content += bytes(event.data)
        wire.close()
        return httpx.Response(head.status_code, headers=list(head.headers.raw_items()), content=content)
