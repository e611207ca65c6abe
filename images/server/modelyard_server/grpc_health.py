"""Whether the services here serve, for who asks once or watches.

Source: grpc/grpc-proto grpc/health/v1/health.proto, and grpc/grpc doc/health-checking.md. A request has a name in its
first field, as ModelReadyRequest has, and an answer has a number in its first.
"""

from collections.abc import Iterable
from enum import IntEnum

from modelyard_server.errors import RequestError, shown
from modelyard_server.grpc_call import Call
from modelyard_server.open_inference_pb2 import ModelReadyRequest


class Serving(IntEnum):
    """HealthCheckResponse.ServingStatus."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Health:
    """The status of each of ``services``; none serves at first."""

    def __init__(self, services: Iterable[str]) -> None:
        self._statuses = dict.fromkeys(services, Serving.NOT_SERVING)
        self._watchers: dict[Call, str] = {}

    def set_ready(self, *, ready: bool) -> None:
        """Change the status of all services, and tell who watches."""
        status = Serving.SERVING if ready else Serving.NOT_SERVING
        changed = {name for name, present in self._statuses.items() if present is not status}
        self._statuses = dict.fromkeys(self._statuses, status)
        for call, name in list(self._watchers.items()):
            if name in changed:
                call.stream(_answer(status))

    def check(self, message: bytes) -> bytes:
        """The answer of Check. Raises RequestError for a service that is unknown."""
        name = ModelReadyRequest.FromString(message).name
        status = self._statuses.get(name)
        if status is None:
            raise RequestError(f"service {shown(name)} is unknown here", 404)
        return _answer(status)

    def watch(self, call: Call, message: bytes) -> None:
        """Answer a Watch: with the status now, and with each other one until the call ends."""
        name = ModelReadyRequest.FromString(message).name
        self._watchers[call] = name
        call.stream(_answer(self._statuses.get(name, Serving.SERVICE_UNKNOWN)))

    def forget(self, call: Call) -> None:
        """A call has ended."""
        self._watchers.pop(call, None)

    def watching(self) -> list[Call]:
        """Calls that end only when somebody ends them."""
        return list(self._watchers)


def _answer(status: Serving) -> bytes:
    return bytes((8, status))
