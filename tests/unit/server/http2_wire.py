"""A connection of the gRPC server without a network: frames in, frames out, and a clock that only a test moves."""

from collections.abc import Callable
from typing import Any

from tests.unit.server.http2_peer import told
from tests.unit.server.wire import Network

from modelyard_server.grpc_call import Methods
from modelyard_server.grpc_connection import GrpcConnection
from modelyard_server.http2_limits import SessionLimits
from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_messages import Limits


class Wire(Network):
    """The client's end."""

    def __init__(self, methods: Methods, limits: Limits | None = None) -> None:
        super().__init__()
        self.now = 0.0
        self.sent = self.raw = b""
        self.writes = 0
        self.pauses_after: int | None = None
        self.later: list[Callable[[], None]] = []
        self.endpoint: Endpoint[Methods] = Endpoint(methods, limits or Limits(), lambda: self.now)
        self.connection = GrpcConnection(self.endpoint, SessionLimits(), self.later.append)
        self.connection.connection_made(self)

    def send(self, *parts: bytes) -> list[str]:
        """Send frames, and give what the server sends until it has nothing to do."""
        sent = b"".join(parts)
        while sent and self.reading and not self.closed:
            buffer = self.connection.get_buffer(-1)
            count = min(len(buffer), len(sent))
            buffer[:count] = sent[:count]
            self.connection.buffer_updated(count)
            sent = sent[count:]
        return self.taken()

    def taken(self) -> list[str]:
        while self.later:
            self.later.pop(0)()
        sent, self.sent = self.sent, b""
        return told(sent)

    def pass_time(self, seconds: float) -> list[str]:
        self.now += seconds
        self.endpoint.sweep(0)
        return self.taken()

    def write(self, data: Any) -> None:
        assert not self.closed
        assert not self.ended
        self.sent += data
        self.raw += data
        self.writes += 1
        if self.pauses_after is not None and self.writes >= self.pauses_after:
            self.connection.pause_writing()

    def close(self) -> None:
        self.closed = True
        self.connection.connection_lost(None)

    abort = close
