"""One HTTP/1.1 connection: what it reads becomes requests, and their answers go out in order and in time."""

import asyncio

from modelyard_server.errors import RETRY_LATER
from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_exchange import Exchange, Handler
from modelyard_server.http_messages import CONTINUE, NEVER, Response, json_response, rendered
from modelyard_server.http_reader import Phase, RequestReader

_JOINED = 64 * 1024
"""Answers up to so many bytes are joined and sent with one call; above, a copy costs more than a second call."""


class Connection(asyncio.BufferedProtocol):
    """The server's side of one connection."""

    def __init__(self, endpoint: Endpoint[Handler]) -> None:
        self._endpoint = endpoint
        self._handler = endpoint.handler
        self._limits = endpoint.limits
        self._transport: asyncio.Transport
        self._reader = RequestReader(endpoint.handler, endpoint.limits, self._answered)
        self._queue = self._reader.queue
        self._busy = False
        """Whether the first request of the queue was handed to the handler."""
        self._pumping = False
        self._blocked = False
        """Whether the client has yet to take what it was sent."""
        self._reads = True
        self._resting = False
        """Whether the client was told to try again later."""
        self._lingers = False
        """Whether the last answer is written, and what still arrives is dropped."""
        self.deadline = NEVER
        """When ``expire`` is due, on the endpoint's clock."""

    # uvloop's transports are of no class of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start with the time that an idle connection has."""
        self._transport = transport
        self.deadline = self._endpoint.now() + self._limits.idle_seconds
        if not self._endpoint.add(self):
            self._reader.give_up(json_response({"error": "too many connections"}, 503, RETRY_LATER))
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all work for this client."""
        del exc
        self._endpoint.remove(self)
        for exchange in self._reader.leave():
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
        return self._reader.phase is Phase.IDLE and not self._queue

    def close(self) -> None:
        """Close when what was written is sent."""
        self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: the rest of a body, else the buffer that all connections share.

        Of that only the start for a head that a long body may follow, whose bytes would be copied out of it. The
        transport fills it and calls ``buffer_updated`` before anything else runs.
        """
        del sizehint
        reader = self._reader
        if reader.direct is not None:
            return reader.direct
        if reader.long and reader.phase is Phase.IDLE:
            return self._endpoint.start_of_buffer
        return self._endpoint.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what arrived."""
        reader = self._reader
        if reader.phase is Phase.LAST:
            return
        if reader.direct is None:
            reader.feed(self._endpoint.buffer[:nbytes])
        else:
            reader.received(nbytes)
            if reader.direct is not None:
                return
        self._pump()
        self._set_deadline()

    def expire(self) -> None:
        """End what took too long."""
        if self._blocked or self._lingers:
            self._transport.abort()
        elif self._reader.phase is Phase.IDLE:
            self._transport.close()
        else:
            self._reader.give_up(json_response({"error": "the request took too long to arrive"}, 408))
            self._pump()
            self._set_deadline()

    def _answered(self, exchange: Exchange) -> None:
        """An exchange got its answer; it is the first of the queue."""
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
        if self._reader.continue_due and not queue:
            self._reader.continue_due = False
            self._transport.write(CONTINUE)
        self._pumping = False
        self._set_reading()

    def _set_reading(self) -> None:
        """Read, unless more than a request is ahead, which only costs memory, or the client was told to try later."""
        read = len(self._queue) <= 1 and not self._resting
        if read != self._reads and not self._transport.is_closing():
            self._reads = read
            if read:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _rested(self) -> None:
        self._resting = False
        self._set_reading()

    def _write(self, exchange: Exchange, response: Response) -> None:
        exchange.close = exchange.close or (self._handler.closing and self.idle)
        with_body = exchange.request.method != b"HEAD"
        parts = rendered(response, self._endpoint.date, close=exchange.close, with_body=with_body)
        if len(parts) == 1 or sum(map(len, parts)) <= _JOINED:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        if exchange.close:
            self._finish()
        elif exchange.rest is not None and not self._resting:
            self._resting = True
            exchange.rest(self._rested)

    def _finish(self) -> None:
        """End after the last answer: at once, or if the client is still sending, when it has seen the answer."""
        self._reader.phase = Phase.LAST
        if not self._reader.unread:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._lingers = True
        self.deadline = self._endpoint.now() + self._limits.linger_seconds

    def _set_deadline(self) -> None:
        if self._lingers:
            return
        now = self._endpoint.now()
        if self._blocked:
            self.deadline = now + self._limits.write_seconds
        elif self._reader.phase in (Phase.HEAD, Phase.BODY):
            self.deadline = self._reader.until(now)
        elif self._queue or self._reader.phase is Phase.LAST:
            self.deadline = NEVER
        else:
            self.deadline = now + self._limits.idle_seconds
