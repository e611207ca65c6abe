"""One gRPC call: its request as it arrives, and the place for its answer."""

from collections.abc import Callable
from typing import Protocol

from modelyard_server import grpc_head, grpc_message
from modelyard_server.errors import RequestError
from modelyard_server.grpc_head import Head
from modelyard_server.grpc_message import MessageReader
from modelyard_server.http2_session import Session
from modelyard_server.http2_stream import Stream
from modelyard_server.http_messages import NEVER, Limits


class Methods(Protocol):
    """What answers calls. For each: ``begin``, ``hold`` and ``handle`` unless it was answered, then ``end``."""

    most_bytes: int
    """Of a request's message."""
    lead: int
    """Where in a long message the first raw tensor is likely to begin."""

    def begin(self, call: "Call") -> None:
        """The head is there. Raises RequestError."""
        ...

    def hold(self, call: "Call", size: int) -> None:
        """A message of ``size`` bytes, as sent, is on its way. Raises RequestError."""
        ...

    def handle(self, call: "Call", message: bytes | memoryview) -> None:
        """Have the call answered, now or later. Does not raise."""
        ...

    def refuse(self, call: "Call", error: Exception) -> None:
        """Answer with what went wrong."""
        ...

    def end(self, call: "Call") -> None:
        """The call is over: its answer is on its way, or its client is gone."""
        ...


class Place(Protocol):
    """The connection, as a call sees it."""

    session: Session
    limits: Limits
    methods: Methods

    def now(self) -> float:
        """The clock of all times."""
        ...

    def due(self, moment: float) -> None:
        """Have ``Call.expire`` called at that time or a little later."""
        ...

    def ready(self, call: "Call", message: bytes | memoryview) -> None:
        """Have the call handled, when there is room for more answers."""
        ...

    def flush(self) -> None:
        """Write what is to be written, soon."""
        ...


class Call:
    """A request and its answer, of which only the first counts."""

    def __init__(self, place: Place, stream: Stream, head: Head) -> None:
        self._place = place
        self._stream = stream
        self._reader = MessageReader(place.methods.most_bytes, head.coding, place.methods.lead)
        self.head = head
        self.begun = now = place.now()
        self.expires = NEVER if head.seconds is None else now + head.seconds
        """When the client waits no longer."""
        self.until = min(self.expires, now + place.limits.body_seconds)
        """When the request must be complete, then the answer."""
        self.start: float | None = None
        """When its message was complete, in seconds of ``time.perf_counter``."""
        self.admitted = False
        """Whether it has a place among the requests in flight, which ``Methods.end`` gives back."""
        self.held = 0
        """Bytes of the message that were admitted, which ``Methods.end`` gives back."""
        self.entered = False
        """Whether it counts among the calls of the server."""
        self.answered = False
        self.streaming = False
        """Whether a message of several was sent."""
        self.gone = False
        """Whether the client is gone: nobody waits for an answer."""
        self.on_gone: Callable[[], None] | None = None
        """Called when that happens, so that the work can be dropped."""

    def data(self, data: bytes | memoryview) -> None:
        """A piece of the request."""
        reader = self._reader
        known = reader.size is not None
        try:
            reader.add(data)
            if not known and reader.size is not None:
                self._place.methods.hold(self, reader.size)
                self._await(self.begun + self._place.limits.seconds_for_body(reader.size))
        except RequestError as error:
            self._place.methods.refuse(self, error)

    def end(self) -> None:
        """The request is complete."""
        try:
            message = self._reader.message()
        except RequestError as error:
            self._place.methods.refuse(self, error)
            return
        self._await(NEVER)
        self._place.ready(self, message)

    def expire(self) -> None:
        """The request did not arrive in time, or the client waits no longer."""
        late = self.until >= self.expires
        text = "the deadline of this request has passed" if late else "the request took too long to arrive"
        self._drop()
        self._place.methods.refuse(self, RequestError(text, 504))

    def remaining(self) -> float:
        """How many seconds the client still waits."""
        return NEVER if self.expires == NEVER else self.expires - self._place.now()

    def answer(self, message: bytes) -> None:
        """Send the one message of the answer."""
        if self._finish():
            body = grpc_message.prefixed(message)
            self._place.session.send(self._stream, grpc_head.HEAD, body, grpc_head.TRAILERS)
            self._place.flush()

    def stream(self, message: bytes) -> None:
        """Send one message of several."""
        if not self.answered and not self.gone:
            head = b"" if self.streaming else grpc_head.HEAD
            self.streaming = True
            self._place.session.send(self._stream, head, grpc_message.prefixed(message))
            self._place.flush()

    def fail(self, code: int, text: str) -> None:
        """End with a status that tells why there is no answer, or no more of it."""
        if self._finish():
            block = grpc_head.status_block(code, text, begun=self.streaming)
            self._place.session.send(self._stream, b"", b"", block)
            self._place.flush()

    def leave(self) -> None:
        """The client is gone."""
        self.gone = True
        self._drop()
        if not self.answered:
            self._place.methods.end(self)

    def _await(self, moment: float) -> None:
        self.until = min(self.expires, moment)
        if self.until != NEVER:
            self._place.due(self.until)

    def _finish(self) -> bool:
        """Whether this answer is the first, and somebody waits for it."""
        if self.answered or self.gone:
            return False
        self.answered = True
        self.until = NEVER
        self.on_gone = None
        self._place.methods.end(self)
        return True

    def _drop(self) -> None:
        if self.on_gone is not None:
            dropped, self.on_gone = self.on_gone, None
            dropped()
