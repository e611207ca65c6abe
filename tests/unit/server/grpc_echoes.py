"""Methods that answer with their message, and calls of them, for connections of the gRPC server without a network."""

from tests.unit.server.http2_peer import GREETING, POST, data, headers
from tests.unit.server.http2_wire import Wire

from modelyard_server.errors import RequestError
from modelyard_server.grpc_call import Call
from modelyard_server.grpc_message import prefixed
from modelyard_server.http2_fields import encoded
from modelyard_server.http_messages import Limits

GRPC = (*POST, (b"content-type", b"application/grpc"))
NOTHING = (*GRPC[:2], (b":path", b"/nothing"), GRPC[4])
ANSWER = ["HEADERS 1", "DATA 1 7", "HEADERS 1 END"]
REFUSED = ["HEADERS 1 END", "RST_STREAM 1 NO_ERROR"]
LARGE = 20 * 1024 * 1024


class Echoes:
    """Answers with the message, at once or when ``release`` is called."""

    most_bytes = 2 * LARGE
    lead = 0

    def __init__(self, *, at_once: bool = True) -> None:
        self.held: list[tuple[Call, bytes | memoryview]] = []
        self.refused: list[str] = []
        self.begun = self.ended = 0
        self.full = False
        self._at_once = at_once

    def begin(self, call: Call) -> None:
        self.begun += 1
        if call.head.path == b"/nothing":
            raise RequestError("nothing", 501)

    def hold(self, call: Call, size: int) -> None:
        if self.full:
            raise RequestError("full", 503)

    def handle(self, call: Call, message: bytes | memoryview) -> None:
        self.held.append((call, message))
        if self._at_once:
            self.release()

    def release(self) -> None:
        call, message = self.held.pop(0)
        call.answer(bytes(message))

    def refuse(self, call: Call, error: Exception) -> None:
        assert isinstance(error, RequestError)
        self.refused.append(str(error))
        call.fail(2, str(error))

    def end(self, call: Call) -> None:
        self.ended += 1


def greeted(methods: Echoes, limits: Limits | None = None) -> Wire:
    wire = Wire(methods, limits)
    wire.send(GREETING)
    return wire


def ask(stream: int, message: bytes = b"hi", *fields: tuple[bytes, bytes]) -> bytes:
    return headers(stream, encoded([*GRPC, *fields])) + data(stream, prefixed(message), end=True)
