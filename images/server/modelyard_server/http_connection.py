"""One HTTP/1.1 connection: bytes to requests, answers to bytes, in order, within limits and in time.

llhttp (through httptools) reads heads, chunks, and bodies that come with their head. The rest of a longer body is
received straight into one buffer of its announced length. Source: RFC 9112.
"""

import asyncio
from collections import deque
from enum import Enum, auto

import httptools

from modelyard_server.http_body import Body
from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_exchange import Exchange
from modelyard_server.http_head import HeadReader
from modelyard_server.http_messages import CONTINUE, NEVER, Request, Response, json_response, rendered

_JOINED = 64 * 1024
"""Answers up to so many bytes are joined and sent with one call; above, a copy costs more than a second call."""
_DRAINED = 64 * 1024
"""The body of a refused request of up to so many bytes is read and dropped, which keeps the connection."""


class _Phase(Enum):
    """What the next byte belongs to."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    LAST = auto()
    """Nothing: the last request of this connection was read or given up."""


class Connection(asyncio.BufferedProtocol):
    """The server's side of one connection. The names of the parser's callbacks are httptools'."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._handler = endpoint.handler
        self._limits = endpoint.limits
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._head = HeadReader(endpoint.limits)
        self._phase = _Phase.IDLE
        self._body = Body(0)
        self._direct: memoryview | None = None
        self._incoming: Exchange | None = None
        """The request whose body is arriving."""
        self._queue: deque[Exchange] = deque()
        """Requests in the order of their answers; the first is being answered."""
        self._busy = False
        self._pumping = False
        self._continue_due = False
        self._blocked = False
        self._paused = False
        self._unread = False
        """Whether a part of the last request was not read."""
        self._lingers = False
        """Whether the last answer is written, and what still arrives is dropped."""
        self._without_progress = 0
        self._partial_until = NEVER
        self.deadline = NEVER
        """When ``expire`` is due, on the endpoint's clock."""

    # uvloop's transports are of no class of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start with the time that an idle connection has."""
        self._transport = transport
        self.deadline = self._endpoint.now() + self._limits.idle_seconds
        if not self._endpoint.add(self):
            self._last(json_response({"error": "too many connections"}, 503, ((b"retry-after", b"1"),)))
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all work for this client."""
        del exc
        self._endpoint.remove(self)
        self._phase = _Phase.LAST
        gone = [*self._queue] if self._incoming is None else [*self._queue, self._incoming]
        self._queue.clear()
        self._incoming = None
        for exchange in gone:
            exchange.leave()
            self._handler.end(exchange)

    def eof_received(self) -> None:
        """Have the transport close: a client that sends no more is taken to be gone, as most servers do."""

    def pause_writing(self) -> None:
        """Answer nothing more until the client has taken what it was sent."""
        self._blocked = True
        self._set_deadline()

    def resume_writing(self) -> None:
        """Go on answering."""
        self._blocked = False
        self._pump()
        self._set_deadline()

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self._phase is _Phase.IDLE and not self._queue

    def close(self) -> None:
        """Close when what was written is sent."""
        self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: the rest of a body, else the buffer that all connections share.

        The transport fills it and calls ``buffer_updated`` before anything else runs.
        """
        del sizehint
        return self._endpoint.buffer if self._direct is None else self._direct

    def buffer_updated(self, nbytes: int) -> None:
        """Read what arrived."""
        if self._phase is _Phase.LAST:
            return
        if self._direct is None:
            self._feed(self._endpoint.buffer[:nbytes])
        else:
            self._body.received += nbytes
            self._direct = self._body.rest
            if self._direct is not None:
                return
            # The parser was left behind within the body; only a new one can go on after it.
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        self._pump()
        self._set_deadline()

    def _feed(self, data: memoryview) -> None:
        self._without_progress += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if self._phase is not _Phase.LAST:
                self._last(json_response({"error": f"not HTTP/1.1: {error}"}, 400))
            return
        if self._phase is _Phase.BODY:
            self._direct = self._body.rest
        if self._phase is _Phase.IDLE:
            self._without_progress = 0
        elif self._without_progress > self._limits.head and self._phase is not _Phase.LAST:
            self._last(self._head.too_large())

    def _ignore_upgrade(self, rest: memoryview) -> None:
        """Read the request again as if it did not ask to upgrade, which a server may ignore (RFC 9110, section 7.8).

        llhttp leaves the body to the new protocol, but clients that try h2c send a body of HTTP/1.1.
        """
        if self._phase is not _Phase.HEAD:
            return
        if (head := self._head.without_upgrade(self._parser.get_method())) is None:
            self._last(json_response({"error": "method CONNECT: this is no proxy"}, 501))
            return
        self._parser = httptools.HttpRequestParser(self)
        self._phase = _Phase.IDLE
        self._feed(memoryview(head))
        if rest and self._phase is not _Phase.LAST:
            self._feed(rest)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._phase is _Phase.IDLE:
            self._phase = _Phase.HEAD
            self._head.clear()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; trailers are dropped."""
        if self._phase is _Phase.HEAD:
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        """Refuse the request now, or go on to its body."""
        head, parser = self._head, self._parser
        if self._phase is not _Phase.HEAD or parser.should_upgrade():
            return
        if (wrong := head.wrong(parser.get_http_version())) is not None:
            self._last(wrong)
            return
        size = head.body_size()
        request = Request(parser.get_method(), head.target, head.fields)
        exchange = Exchange(request, self._answered, close=not parser.should_keep_alive())
        self._incoming = exchange
        self._body = Body(size, head.lead())
        self._phase = _Phase.BODY
        self._without_progress = 0
        self._partial_until = NEVER
        if (refusal := self._handler.refuse(exchange, size)) is not None:
            exchange.response = refusal
            if size is None or size > _DRAINED or (size and head.expects):
                self._last(refusal)
        elif head.expects and size != 0:
            self._continue_due = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        exchange = self._incoming
        if exchange is None:
            return
        self._without_progress = 0
        self._continue_due = False
        if exchange.response is None:
            if self._body.size is None and (refusal := self._handler.hold(exchange, len(body))) is not None:
                self._last(refusal)
                return
            self._body.add(body)

    def on_message_complete(self) -> None:
        """The request is read whole."""
        exchange = self._incoming
        if exchange is None:
            return
        exchange.request.body = self._body.whole()
        self._body = Body(0)
        self._incoming = None
        self._continue_due = False
        self._partial_until = NEVER
        self._queue.append(exchange)
        self._phase = _Phase.LAST if exchange.close else _Phase.IDLE
        if len(self._queue) > 1:
            # More than one request ahead only costs memory; the rest stays with the client.
            self._paused = True
            self._transport.pause_reading()

    def _last(self, response: Response) -> None:
        """Read nothing more, and answer what arrives with ``response`` as the last of this connection."""
        exchange = self._incoming
        if exchange is None:
            exchange = Exchange(Request(b"", b"", {}), self._answered, close=True)
        exchange.response, exchange.close = response, True
        self._incoming, self._direct = None, None
        self._continue_due = False
        self._phase = _Phase.LAST
        self._unread = True
        self._queue.append(exchange)

    def _answered(self, exchange: Exchange) -> None:
        """An exchange got its answer; it is the one at the head of the queue."""
        del exchange
        if not self._pumping:
            self._pump()
            self._set_deadline()

    def _pump(self) -> None:
        """Write the answers that are there, and have the next request answered."""
        self._pumping = True
        queue = self._queue
        while queue and not self._blocked:
            exchange = queue[0]
            if exchange.response is not None:
                self._busy = False
                queue.popleft()
                self._write(exchange, exchange.response)
                self._handler.end(exchange)
                if exchange.close:
                    break
            elif self._busy:
                break
            else:
                self._busy = True
                self._handler.handle(exchange)
        if self._continue_due and not queue:
            self._continue_due = False
            self._transport.write(CONTINUE)
        if self._paused and len(queue) <= 1 and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        self._pumping = False

    def _write(self, exchange: Exchange, response: Response) -> None:
        exchange.close = exchange.close or (self._handler.closing and self.idle)
        parts = rendered(
            response, self._endpoint.date, close=exchange.close, with_body=exchange.request.method != b"HEAD"
        )
        if len(parts) == 1 or sum(map(len, parts)) <= _JOINED:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        if exchange.close:
            self._finish()

    def _finish(self) -> None:
        """End after the last answer: at once, or if the client is still sending, when it has seen the answer."""
        self._phase = _Phase.LAST
        if not self._unread:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._lingers = True
        self.deadline = self._endpoint.now() + self._limits.linger_seconds

    def expire(self) -> None:
        """End what took too long."""
        if self._blocked or self._lingers:
            self._transport.abort()
        elif self._phase is _Phase.IDLE:
            self._transport.close()
        else:
            self._last(json_response({"error": "the request took too long to arrive"}, 408))
            self._pump()
            self._set_deadline()

    def _set_deadline(self) -> None:
        if self._lingers:
            return
        now = self._endpoint.now()
        if self._blocked:
            self.deadline = now + self._limits.write_seconds
        elif self._phase is _Phase.HEAD:
            self._partial_until = min(self._partial_until, now + self._limits.head_seconds)
            self.deadline = self._partial_until
        elif self._phase is _Phase.BODY:
            size = self._limits.body if self._body.size is None else self._body.size
            self._partial_until = min(self._partial_until, now + self._limits.seconds_for_body(size))
            self.deadline = self._partial_until
        else:
            self.deadline = NEVER if self._queue or self._phase is _Phase.LAST else now + self._limits.idle_seconds
