"""From an HTTP request to its answer: who may ask, what they ask for, and what is said when it fails."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote_to_bytes

from modelyard_server import documents, routes, v1, v2
from modelyard_server.batch_queue import Job
from modelyard_server.content_coding import inflate, too_large
from modelyard_server.errors import OverloadError, RequestError
from modelyard_server.http_exchange import Exchange
from modelyard_server.http_messages import Request, Response, json_response
from modelyard_server.metrics import Protocol
from modelyard_server.routes import Action, Route
from modelyard_server.security import Token
from modelyard_server.service import Service
from modelyard_server.tensors import Tensor

log = logging.getLogger(__name__)

_JSON_SIZE = v2.JSON_SIZE_HEADER.lower().encode()
_REQUEST_ID = b"x-request-id"
_PROTOCOLS: dict[Action, Protocol] = {Action.INFER: "v2", Action.PREDICT: "v1"}
_OPEN = (Action.LIVE, Action.READY)
"""What the kubelet asks, which has no token."""
_KNOWN_ROUTES = 64
_SMALL = 64 * 1024
"""Bytes of a body that nobody reads."""
_BINARY = b"application/octet-stream"
_PLAIN_ID = re.compile(rb"[\w.:-]{1,64}")


class App:
    """Open Inference Protocol v2, TensorFlow Serving v1, documents and metrics over ``service``. Errors are JSON."""

    def __init__(self, service: Service, token: Token | None = None) -> None:
        self._service = service
        self._metrics = service.metrics
        self._token = token
        self._known: dict[tuple[bytes, bytes], Route] = {}
        self._codec: v2.Codec | None = None

    @property
    def closing(self) -> bool:
        """Whether each answer is to be the last of its connection: its next request must find another pod."""
        return self._service.stopping

    def refuse(self, exchange: Exchange, size: int | None) -> Response | None:
        """Why the request is not read further, or None."""
        protocol: Protocol | None = None
        request = exchange.request
        try:
            known = self._known.get((request.method, request.target))
            exchange.route = route = known or _route(request)
            protocol = _PROTOCOLS.get(route.action)
            if self._token is not None and route.action not in _OPEN:
                self._token.check(request.headers.get(b"authorization"))
            if known is None:
                self._know(request, route)
            limit = self._service.run.max_payload_bytes if protocol else _SMALL
            if size is not None and size > limit:
                raise too_large(limit)
            if protocol:
                _ = self._service.signature
                self._service.admit()
                exchange.admitted = True
                if size:
                    self._service.hold(size)
                    exchange.held = size
        except RequestError as refused:
            return self._refusal(exchange, protocol, refused)
        return None

    def hold(self, exchange: Exchange, size: int) -> Response | None:
        """Let in more of a body of unknown size, or say why not."""
        infers = exchange.admitted
        limit = self._service.run.max_payload_bytes if infers else _SMALL
        try:
            if exchange.held + size > limit:
                raise too_large(limit)
            if infers:
                self._service.hold(size)
            exchange.held += size
        except RequestError as refused:
            protocol = _PROTOCOLS.get(exchange.route.action) if exchange.route else None
            return self._refusal(exchange, protocol, refused)
        return None

    def end(self, exchange: Exchange) -> None:
        """Give back what the exchange held."""
        if exchange.admitted:
            self._service.release(exchange.held)
            exchange.admitted = False
            if exchange.gone and exchange.response is None:
                self._metrics.fail("Gone")

    def handle(self, exchange: Exchange) -> None:
        """Answer a request that was read whole."""
        route = exchange.route
        assert route is not None
        protocol = _PROTOCOLS.get(route.action)
        start = time.perf_counter()
        try:
            if protocol is None:
                exchange.answer(documents.answer(route, self._service))
            elif protocol == "v2":
                self._infer(exchange, start)
            else:
                self._predict(exchange, start)
        except Exception as error:  # noqa: BLE001 - the one place: every error becomes an answer
            exchange.answer(self._refusal(exchange, protocol, error, start))

    def _infer(self, exchange: Exchange, start: float) -> None:
        if (codec := self._codec) is None:
            codec = self._codec = v2.Codec(self._service.signature)
        request = exchange.request
        wanted = codec.decode(self._body(request), v2.json_size(request.headers.get(_JSON_SIZE)))

        def encode(results: Sequence[Tensor]) -> Response:
            answer = codec.encode(wanted, results)
            if answer.json_size is None:
                return Response(200, answer.parts)
            return Response(200, answer.parts, _BINARY, ((_JSON_SIZE, b"%d" % answer.json_size),))

        done = partial(self._done, exchange, "v2", start, encode)
        job = self._service.submit(wanted.inputs, wanted.names, done, seconds=wanted.seconds)
        if exchange.response is None:
            exchange.on_gone = partial(self._service.cancel, job)

    def _predict(self, exchange: Exchange, start: float) -> None:
        signature = self._service.signature
        wanted = v1.decode(self._body(exchange.request), signature)

        def encode(results: Sequence[Tensor]) -> Response:
            return Response(200, (v1.encode(wanted, signature, results),))

        done = partial(self._done, exchange, "v1", start, encode)
        job = self._service.submit(wanted.inputs, [spec.name for spec in signature.outputs], done)
        if exchange.response is None:
            exchange.on_gone = partial(self._service.cancel, job)

    def _done(
        self,
        exchange: Exchange,
        protocol: Protocol,
        start: float,
        encode: Callable[[Sequence[Tensor]], Response],
        job: Job,
        outcome: Sequence[Tensor] | Exception,
    ) -> None:
        """Answer with what the model gave."""
        if exchange.gone:
            return
        if isinstance(outcome, Exception):
            exchange.answer(self._refusal(exchange, protocol, outcome, start))
            return
        try:
            response = encode(outcome)
        except Exception as error:  # noqa: BLE001 - as in ``handle``, which has returned long since
            exchange.answer(self._refusal(exchange, protocol, error, start))
            return
        self._service.answered(protocol, start)
        if self._service.traces is not None and exchange.route is not None:
            self._service.traces.http(exchange.request, exchange.route, 200, start, job)
        exchange.answer(response)

    def _body(self, request: Request) -> bytes | memoryview:
        encoding = request.headers.get(b"content-encoding")
        return (
            request.body if encoding is None else inflate(request.body, encoding, self._service.run.max_payload_bytes)
        )

    def _know(self, request: Request, route: Route) -> None:
        """Check the model that the route names, once for each way of writing it."""
        if route.model is not None:
            self._service.check_name(route.model, route.version)
        if len(self._known) < _KNOWN_ROUTES:  # a client may invent queries without end
            self._known[request.method, request.target] = route

    def _refusal(
        self, exchange: Exchange, protocol: Protocol | None, error: Exception, start: float | None = None
    ) -> Response:
        """What the client is told, with an id that the log has too where it is the server's fault."""
        identity = request_id(exchange.request)
        if isinstance(error, OverloadError):
            exchange.rest = self._service.resting.add
        if isinstance(error, RequestError):
            status, text, headers = error.status, str(error), error.headers
        else:
            name = self._service.run.name
            log.error("%s: request %s failed", name, identity.decode(), exc_info=error)
            status, headers = 500, ()
            text = f"internal error; the server's log has it under {identity.decode()}"
        if protocol:
            self._service.failed(protocol, status, start)
            if self._service.traces is not None and exchange.route is not None:
                self._service.traces.http(exchange.request, exchange.route, status, start)
        return json_response({"error": text}, status, (*headers, (_REQUEST_ID, identity)))


def _route(request: Request) -> Route:
    return routes.resolve(request.method.decode("latin-1"), unquote_to_bytes(request.path).decode("utf-8", "replace"))


def request_id(request: Request) -> bytes:
    """The id that the client or a proxy gave the request, else a new one."""
    given = request.headers.get(_REQUEST_ID, b"")
    return given if _PLAIN_ID.fullmatch(given) else secrets.token_hex(8).encode()
