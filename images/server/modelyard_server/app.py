"""The ASGI application: from a request's route to its answer."""

import logging
import time
from collections.abc import Callable

from modelyard_server import describe, routes, v1, v2
from modelyard_server.asgi import (
    ClientGoneError,
    Receive,
    Response,
    Scope,
    Send,
    header,
    json_response,
    read_body,
    send_response,
)
from modelyard_server.errors import RequestError
from modelyard_server.metrics import CONTENT_TYPE, Metrics, Protocol
from modelyard_server.routes import Action, Route
from modelyard_server.service import Service
from modelyard_server.tensors import Signature

log = logging.getLogger(__name__)

_JSON_SIZE_HEADER = v2.JSON_SIZE_HEADER.lower().encode()
_PROTOCOLS: dict[Action, Protocol] = {Action.INFER: "v2", Action.PREDICT: "v1"}
_MODEL_DOCUMENTS: dict[Action, Callable[[Signature], dict[str, object]]] = {
    Action.MODEL: describe.model,
    Action.MODEL_CONFIG: describe.config,
    Action.V1_STATUS: describe.v1_status,
    Action.V1_METADATA: describe.v1_metadata,
}


class App:
    """Open Inference Protocol v2, TensorFlow Serving v1 and metrics over ``service``. Every error is JSON."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answer(scope, receive)
        except ClientGoneError:
            return
        if self._service.stopping:
            # The client's next request must find another pod, not a connection that is about to close.
            response = Response(response.status, response.body, (*response.headers, (b"connection", b"close")))
        await send_response(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        protocol: Protocol | None = None
        try:
            route = routes.resolve(scope["method"], scope["path"])
            protocol = _PROTOCOLS.get(route.action)
            response = await self._infer(route, protocol, scope, receive) if protocol else self._describe(route)
        except RequestError as refused:
            response = json_response({"error": str(refused)}, refused.status, refused.headers)
        except Exception:
            log.exception("%s: %s failed", self._service.run.name, scope["method"])
            response = json_response({"error": "internal error; the server's log has it"}, 500)
        if protocol:
            self._metrics.count(protocol, response.status)
        return response

    async def _infer(self, route: Route, protocol: Protocol, scope: Scope, receive: Receive) -> Response:
        service = self._service
        service.check_name(route.model, route.version)
        signature = service.model.signature
        with service.admitted():
            body = await read_body(scope, receive, service.run.max_payload_bytes)
            start = time.perf_counter()
            if protocol == "v2":
                response = await self._infer_v2(body, header(scope, _JSON_SIZE_HEADER), signature)
            else:
                response = await self._infer_v1(body, signature)
            self._metrics.observe(protocol, time.perf_counter() - start)
        return response

    async def _infer_v2(self, body: bytes, json_size: bytes | None, signature: Signature) -> Response:
        request = v2.decode(body, v2.json_size(json_size), signature)
        results = await self._service.infer(request.inputs, [wanted.spec.name for wanted in request.outputs])
        answer = v2.encode(request, signature, results)
        if answer.json_size is None:
            return Response(200, answer.body, ((b"content-type", b"application/json"),))
        size = (_JSON_SIZE_HEADER, b"%d" % answer.json_size)
        return Response(200, answer.body, ((b"content-type", b"application/octet-stream"), size))

    async def _infer_v1(self, body: bytes, signature: Signature) -> Response:
        request = v1.decode(body, signature)
        results = await self._service.infer(request.inputs, [spec.name for spec in signature.outputs])
        return Response(200, v1.encode(request, signature, results), ((b"content-type", b"application/json"),))

    def _describe(self, route: Route) -> Response:
        service = self._service
        if route.model is not None:
            service.check_name(route.model, route.version)
        if document := _MODEL_DOCUMENTS.get(route.action):
            return json_response(document(service.model.signature))
        match route.action:
            case Action.LIVE:
                return json_response({"live": True})
            case Action.READY:
                service.check_ready()
                return json_response({"ready": True})
            case Action.MODEL_READY:
                service.check_ready()
                return json_response({"name": service.run.name, "ready": True})
            case Action.METRICS:
                return Response(200, self._metrics.render(), ((b"content-type", CONTENT_TYPE),))
            case Action.SERVER:
                return json_response(describe.server())
            case _:
                raise AssertionError(route.action)
