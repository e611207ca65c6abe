"""The requests of one HTTP/1.1 connection, out of the bytes that arrive. Source: RFC 9112.

llhttp (through httptools) reads heads, chunks, and bodies that come with their head. The rest of a longer body is
received straight into one buffer of its announced length.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto

import httptools

from modelyard_server.http_body import Body
from modelyard_server.http_exchange import Exchange, Handler
from modelyard_server.http_head import HeadReader
from modelyard_server.http_messages import NEVER, Limits, Request, Response, json_response

_DRAINED = 64 * 1024
"""The body of a refused request of up to so many bytes is read and dropped, which keeps the connection."""
_LONG = 128 * 1024
"""A body of so many bytes is worth two more reads that keep all of it out of the buffer that connections share."""


class Phase(Enum):
    """What the next byte belongs to."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    LAST = auto()
    """Nothing: the last request of this connection was read or given up."""


class RequestReader:
    """Puts requests into ``queue``, in the order of their answers. The names of the callbacks are httptools'."""

    def __init__(self, handler: Handler, limits: Limits, answered: Callable[[Exchange], None]) -> None:
        self._handler = handler
        self._limits = limits
        self._answered = answered
        self._parser = httptools.HttpRequestParser(self)
        self._head = HeadReader(limits)
        self._body = Body(0)
        self._without_progress = 0
        self._until = NEVER
        self.phase = Phase.IDLE
        self.queue: deque[Exchange] = deque()
        """Complete or refused requests; the first is being answered."""
        self.incoming: Exchange | None = None
        """The request whose body is arriving."""
        self.long = False
        """Whether the last request had a long body, so that the next one may."""
        self.direct: memoryview | None = None
        """Where the next bytes are to be received, when they need no parser; ``received`` is told then."""
        self.continue_due = False
        """Whether the client waits for 100 Continue."""
        self.unread = False
        """Whether a part of the last request was not read."""

    def received(self, count: int) -> None:
        """So many bytes were received into ``direct``."""
        self._body.received += count
        self.direct = self._body.rest
        if self.direct is None:
            # The parser was left behind within the body; only a new one can go on after it.
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()

    def feed(self, data: memoryview) -> None:
        """Read ``data``, of which nothing is kept as a view."""
        self._without_progress += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if self.phase is not Phase.LAST:
                self.give_up(json_response({"error": f"not HTTP/1.1: {error}"}, 400))
            return
        if self.phase is Phase.BODY:
            self.direct = self._body.rest
        if self.phase is Phase.IDLE:
            self._without_progress = 0
        elif self._without_progress > self._limits.head and self.phase is not Phase.LAST:
            self.give_up(self._head.too_large())

    def give_up(self, response: Response) -> None:
        """Read nothing more, and answer what arrives with ``response`` as the last of this connection."""
        exchange = self.incoming
        if exchange is None:
            exchange = Exchange(Request(b"", b"", {}), self._answered, close=True)
        exchange.response, exchange.close = response, True
        self.incoming, self.direct = None, None
        self.continue_due = False
        self.phase = Phase.LAST
        self.unread = True
        self.queue.append(exchange)

    def leave(self) -> list[Exchange]:
        """The client is gone: the requests that were not answered."""
        gone = [*self.queue] if self.incoming is None else [*self.queue, self.incoming]
        self.phase = Phase.LAST
        self.queue.clear()
        self.incoming = None
        return gone

    def until(self, now: float) -> float:
        """When the request that is arriving must be complete; counted from its first byte, or from its head's end."""
        if self.phase is Phase.HEAD:
            self._until = min(self._until, now + self._limits.head_seconds)
        elif self.phase is Phase.BODY:
            size = self._limits.body if self._body.size is None else self._body.size
            self._until = min(self._until, now + self._limits.seconds_for_body(size))
        return self._until

    def _ignore_upgrade(self, rest: memoryview) -> None:
        """Read the request again as if it did not ask to upgrade, which a server may ignore (RFC 9110, section 7.8).

        llhttp leaves the body to the new protocol, but clients that try h2c send a body of HTTP/1.1.
        """
        if self.phase is not Phase.HEAD:
            return
        if (head := self._head.without_upgrade(self._parser.get_method())) is None:
            self.give_up(json_response({"error": "method CONNECT: this is no proxy"}, 501))
            return
        self._parser = httptools.HttpRequestParser(self)
        self.phase = Phase.IDLE
        self.feed(memoryview(head))
        if rest and self.phase is not Phase.LAST:
            self.feed(rest)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self._head.clear()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; trailers are dropped."""
        if self.phase is Phase.HEAD:
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        """Refuse the request now, or go on to its body."""
        head, parser = self._head, self._parser
        if self.phase is not Phase.HEAD or parser.should_upgrade():
            return
        if (wrong := head.wrong(parser.get_http_version())) is not None:
            self.give_up(wrong)
            return
        size = head.body_size()
        request = Request(parser.get_method(), head.target, head.fields)
        exchange = Exchange(request, self._answered, close=not parser.should_keep_alive())
        self.incoming = exchange
        self._body = Body(size, head.lead())
        self.phase = Phase.BODY
        self._without_progress = 0
        self._until = NEVER
        if (refusal := self._handler.refuse(exchange, size)) is not None:
            exchange.response = refusal
            if size is None or size > _DRAINED or (size and head.expects):
                self.give_up(refusal)
        elif head.expects and size != 0:
            self.continue_due = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        exchange = self.incoming
        if exchange is None:
            return
        self._without_progress = 0
        self.continue_due = False
        if exchange.response is None:
            if self._body.size is None and (refusal := self._handler.hold(exchange, len(body))) is not None:
                self.give_up(refusal)
                return
            self._body.add(body)

    def on_message_complete(self) -> None:
        """The request is read whole."""
        exchange = self.incoming
        if exchange is None:
            return
        exchange.request.body = self._body.whole()
        self.long = self._body.received >= _LONG
        self._body = Body(0)
        self.incoming = None
        self.continue_due = False
        self._until = NEVER
        self.queue.append(exchange)
        self.phase = Phase.LAST if exchange.close else Phase.IDLE
