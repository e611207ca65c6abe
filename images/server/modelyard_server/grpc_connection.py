"""One HTTP/2 connection of the gRPC server: what it reads becomes calls, and their answers go out in time."""

import asyncio
from collections import deque
from collections.abc import Callable

from modelyard_server import grpc_head
from modelyard_server.errors import RequestError
from modelyard_server.grpc_call import Call, Methods
from modelyard_server.grpc_head import Head
from modelyard_server.http2_fields import Fields, size
from modelyard_server.http2_frames import PING, Code, Http2Error, frame
from modelyard_server.http2_limits import SessionLimits
from modelyard_server.http2_session import Session
from modelyard_server.http2_stream import Incoming, Stream
from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_messages import NEVER

_WRITTEN = 64 * 1024
"""Bytes that are written at once."""
_WAITING = 32 * 1024 * 1024
"""Bytes of answers that wait for the client; above, its further requests wait too."""
_SIGN_OF_LIFE = frame(PING, 0, 0, b"alive?  ")


class Ignored:
    """A request that is answered already, or not at all."""

    until = NEVER

    def data(self, data: bytes | memoryview) -> None:
        """Drop it."""

    def end(self) -> None:
        """Nothing follows."""

    def leave(self) -> None:
        """Nobody is missed."""

    def expire(self) -> None:
        """Time does not matter."""


class GrpcConnection(asyncio.BufferedProtocol):
    """The server's side of one connection. ``soon`` calls a function when the event loop has time."""

    def __init__(
        self,
        endpoint: Endpoint[Methods],
        limits: SessionLimits,
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._endpoint = endpoint
        self._soon = soon
        self._most_fields = limits.fields
        self._transport: asyncio.Transport
        self._fields: Fields | None = None
        self._head: Head | int = 400
        self._postponed: deque[tuple[Call, bytes | memoryview]] = deque()
        self._scheduled = False
        """Whether ``_write`` will be called anyway."""
        self._blocked = False
        """Whether the client has yet to take what it was sent."""
        self._lingers = False
        """Whether the last was written, and what still arrives is dropped."""
        self._finish_by = NEVER
        self._silent_until = NEVER
        """When a client with calls is asked for a sign of life, or is given up after that."""
        self._asked = False
        self._seen = -1
        self._until = NEVER
        self._calls_due = NEVER
        self.limits = endpoint.limits
        self.methods = endpoint.handler
        self.session = Session(limits, self._begin, endpoint.now)
        self.deadline = NEVER
        """When ``expire`` is due, on the endpoint's clock."""

    # uvloop's transports are of no class of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Greet."""
        self._transport = transport
        if not self._endpoint.add(self):
            self.session.fail(Http2Error(Code.ENHANCE_YOUR_CALM, "too many connections"))
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all work for this client."""
        del exc
        self._lingers = True
        self._endpoint.remove(self)
        self.session.leave()
        self._postponed.clear()

    def eof_received(self) -> None:
        """Have the transport close: a client that sends no more is taken to be gone."""

    def pause_writing(self) -> None:
        """Read and answer nothing more until the client has taken what it was sent."""
        self._blocked = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._write()

    @property
    def idle(self) -> bool:
        """Whether no call is being read or answered."""
        return not self.session.streams

    def close(self) -> None:
        """End, when the present calls are answered, and those that are on their way."""
        if not self.session.draining:
            self.session.drain()
            self._finish_by = self._endpoint.now() + self.limits.linger_seconds
            self._write()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: the buffer that all connections share."""
        del sizehint
        return self._endpoint.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what arrived."""
        if self._lingers:
            return
        self._scheduled = True
        self._asked = False
        self._silent_until = self._endpoint.now() + self.limits.idle_seconds
        self.session.feed(self._endpoint.buffer[:nbytes])
        self._write()

    def expire(self) -> None:
        """End what took too long."""
        session, now = self.session, self._endpoint.now()
        if self._blocked or self._lingers:
            self._transport.abort()
            return
        if session.incomplete and now >= self._until:
            session.fail(Http2Error(Code.ENHANCE_YOUR_CALM, "a frame or a header block took too long to arrive"))
        elif now >= self._finish_by:
            session.finish()
        elif not session.streams:
            session.drain()
            self._finish_by = now + self.limits.linger_seconds
        elif now >= self._silent_until:
            if self._asked:
                self._transport.abort()
                return
            self._asked = True
            self._silent_until = now + self.limits.head_seconds
            session.sender.out.append(_SIGN_OF_LIFE)
        self._expire_streams(now)
        self._write()

    def _expire_streams(self, now: float) -> None:
        self._calls_due = NEVER
        for stream in list(self.session.streams.values()):
            if stream.rest:
                if now >= stream.since + self.limits.write_seconds:
                    self.session.reset(stream, Code.CANCEL)
                else:
                    self.due(stream.since + self.limits.write_seconds)
            elif stream.incoming is not None:
                if now >= stream.incoming.until:
                    stream.incoming.expire()
                else:
                    self.due(stream.incoming.until)

    def now(self) -> float:
        """The endpoint's clock."""
        return self._endpoint.now()

    def due(self, moment: float) -> None:
        """Look at the calls at that time."""
        self._calls_due = min(self._calls_due, moment)

    def ready(self, call: Call, message: bytes | memoryview) -> None:
        """Have a call handled: now, or when the client has taken more of its answers."""
        if self.session.sender.waiting_bytes > _WAITING:
            self._postponed.append((call, message))
        else:
            self.methods.handle(call, message)

    def flush(self) -> None:
        """Write what is to be written, once for all that happens in this step of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._write)

    def _begin(self, stream: Stream, fields: Fields) -> Incoming:
        try:
            head = self._head if fields is self._fields else self._read_head(fields)
        except RequestError as error:
            block = grpc_head.status_block(grpc_head.CODES.get(error.status, grpc_head.INTERNAL), str(error))
            self.session.send(stream, b"", b"", block)
            return Ignored()
        if isinstance(head, int):
            self.session.send(stream, b"", b"", grpc_head.http_block(head))
            return Ignored()
        call = Call(self, stream, head)
        self.due(call.until)
        try:
            self.methods.begin(call)
        except RequestError as error:
            self.methods.refuse(call, error)
        return call

    def _read_head(self, fields: Fields) -> Head | int:
        if size(fields) > self._most_fields:
            raise RequestError(f"the metadata is larger than {self._most_fields} bytes", 413)
        self._head = grpc_head.read_head(fields)
        self._fields = fields
        return self._head

    def _write(self) -> None:
        self._scheduled = False
        if self._lingers:
            return
        session, sender = self.session, self.session.sender
        while sender.ready and not self._blocked:
            self._transport.write(b"".join(sender.take(_WRITTEN)))
        while self._postponed and sender.waiting_bytes <= _WAITING:
            call, message = self._postponed.popleft()
            if not call.answered and not call.gone:
                self.methods.handle(call, message)
        if session.finished and not sender.ready:
            self._finish()
        else:
            self._set_deadline()

    def _finish(self) -> None:
        """End when the client has seen the last, which a reset must not overtake."""
        self._lingers = True
        self.deadline = self._endpoint.now() + self.limits.linger_seconds
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _set_deadline(self) -> None:
        session, now = self.session, self._endpoint.now()
        if self._blocked:
            self.deadline = now + self.limits.write_seconds
            return
        moment = self._finish_by
        if not session.incomplete:
            self._until = NEVER
        elif self._until == NEVER or session.progress != self._seen:
            self._seen = session.progress
            self._until = now + self.limits.head_seconds
        moment = min(moment, self._until)
        if session.streams:
            if session.sender.waiting_bytes:
                self.due(now + self.limits.write_seconds)
            moment = min(moment, self._calls_due, self._silent_until)
        else:
            self._calls_due = NEVER
            moment = min(moment, now + self.limits.idle_seconds)
        self.deadline = moment
