"""Open Inference Protocol v2 over gRPC, on a port of its own in the same event loop."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from modelyard_server import documents, grpc_codec
from modelyard_server import open_inference_pb2 as messages
from modelyard_server.batch_queue import Job
from modelyard_server.errors import RequestError, StartError
from modelyard_server.security import Tls, Token
from modelyard_server.service import Service
from modelyard_server.tensors import Tensor

log = logging.getLogger(__name__)

NAME = "inference.GRPCInferenceService"
_INFER = f"{NAME}/ModelInfer"
_BESIDE_TENSORS = 64 * 1024
"""Bytes that a message may have above the largest payload."""
_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),  # else a second server would share the port and not be told
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 32 * 1024),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

Context = grpc.aio.ServicerContext[Message, Message]
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class GrpcServer:
    """The service, and the health of it that the kubelet and proxies ask for (grpc.health.v1)."""

    def __init__(self, service: Service, server: grpc.aio.Server, token: Token | None) -> None:
        self._service = service
        self._server = server
        self._token = token
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(NAME, self._handlers())])

    async def set_ready(self, *, ready: bool) -> None:
        """Say whether new requests should come here."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", NAME):
            await self._health.set(name, status)

    async def drain(self, seconds: float) -> None:
        """Take no new request, and wait for the present ones, which takes at most ``seconds``."""
        await self._server.stop(seconds)

    def _handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":  # each has messages of its own
        def handler(
            answer: Callable[[Request, Context], Awaitable[Response]], kind: type[Request]
        ) -> "grpc.RpcMethodHandler[Request, Response]":
            return grpc.unary_unary_rpc_method_handler(
                partial(self._guarded, answer),
                request_deserializer=kind.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )

        return {
            "ServerLive": handler(self._server_live, messages.ServerLiveRequest),
            "ServerReady": handler(self._server_ready, messages.ServerReadyRequest),
            "ModelReady": handler(self._model_ready, messages.ModelReadyRequest),
            "ServerMetadata": handler(self._server_metadata, messages.ServerMetadataRequest),
            "ModelMetadata": handler(self._model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": handler(self._infer, messages.ModelInferRequest),
        }

    async def _guarded(
        self, answer: Callable[[Request, Context], Awaitable[Response]], request: Request, context: Context
    ) -> Response:
        """The answer, or the status that tells why there is none."""
        infers = isinstance(request, messages.ModelInferRequest)
        start = time.perf_counter()
        try:
            if self._token is not None:
                self._token.check(_authorization(context))
            return await answer(request, context)
        except RequestError as refused:
            status, text = refused.status, str(refused)
        except grpc.aio.AbortError:
            raise
        except Exception:
            identity = secrets.token_hex(8)
            log.exception("%s: request %s failed", self._service.run.name, identity)
            status, text = 500, f"internal error; the server's log has it under {identity}"
        code = _CODES.get(status, grpc.StatusCode.INTERNAL)
        if infers:
            self._service.failed("grpc", status, start)
            if self._service.traces is not None:
                self._service.traces.grpc(_metadata(context), _INFER, code.name, start)
        await context.abort(code, text)
        raise AssertionError(text)

    async def _infer(self, request: messages.ModelInferRequest, context: Context) -> messages.ModelInferResponse:
        service = self._service
        start = time.perf_counter()
        service.check_name(request.model_name, request.model_version)
        signature = service.signature
        wanted = grpc_codec.decode(request, signature)
        results: asyncio.Future[Sequence[Tensor]] = asyncio.get_running_loop().create_future()
        remaining = context.time_remaining()
        service.admit()
        try:
            done = partial(_set, results)
            seconds = {} if remaining is None else {"seconds": remaining}
            job = service.submit(wanted.inputs, wanted.names, done, **seconds)
            try:
                found = await results
            except asyncio.CancelledError:
                service.cancel(job)
                service.metrics.fail("Gone")
                raise
        finally:
            service.release(0)
        response = grpc_codec.encode(wanted, signature, found)
        service.answered("grpc", start)
        if service.traces is not None:
            service.traces.grpc(_metadata(context), _INFER, grpc.StatusCode.OK.name, start, job)
        return response

    async def _server_live(self, _: messages.ServerLiveRequest, __: Context) -> messages.ServerLiveResponse:
        return messages.ServerLiveResponse(live=True)

    async def _server_ready(self, _: messages.ServerReadyRequest, __: Context) -> messages.ServerReadyResponse:
        return messages.ServerReadyResponse(ready=self._service.ready)

    async def _model_ready(self, request: messages.ModelReadyRequest, _: Context) -> messages.ModelReadyResponse:
        """Another model is not ready, as at Triton; its clients take a status in place of the answer for a failure."""
        try:
            self._service.check_name(request.name, request.version)
        except RequestError:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=self._service.ready)

    async def _server_metadata(self, _: messages.ServerMetadataRequest, __: Context) -> messages.ServerMetadataResponse:
        return messages.ServerMetadataResponse(
            name=documents.NAME, version=metadata.version("modelyard"), extensions=[]
        )

    async def _model_metadata(
        self, request: messages.ModelMetadataRequest, _: Context
    ) -> messages.ModelMetadataResponse:
        self._service.check_name(request.name, request.version)
        signature = self._service.signature
        tensor = messages.ModelMetadataResponse.TensorMetadata
        inputs, outputs = (
            [tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]
            for specs in (signature.inputs, signature.outputs)
        )
        return messages.ModelMetadataResponse(
            name=signature.model,
            versions=[signature.version],
            platform=documents.PLATFORM,
            inputs=inputs,
            outputs=outputs,
        )


def _set(results: "asyncio.Future[Sequence[Tensor]]", job: Job, outcome: Sequence[Tensor] | Exception) -> None:
    del job
    if results.done():  # the client has gone
        return
    if isinstance(outcome, Exception):
        results.set_exception(outcome)
    else:
        results.set_result(outcome)


def _metadata(context: Context) -> Iterable[tuple[str, str | bytes]]:
    return ((name, value) for name, value in context.invocation_metadata() or ())


def _authorization(context: Context) -> bytes | None:
    for name, value in _metadata(context):
        if name == "authorization":
            return value.encode() if isinstance(value, str) else value
    return None


@contextlib.asynccontextmanager
async def grpc_listening(
    service: Service, address: str, tls: Tls | None = None, token: Token | None = None
) -> AsyncIterator[GrpcServer]:
    """A server on ``address`` (host:port). Raises StartError (AddressInUse)."""
    limit = service.run.max_payload_bytes + _BESIDE_TENSORS
    server = grpc.aio.server(
        options=[*_OPTIONS, ("grpc.max_receive_message_length", limit)],
        maximum_concurrent_rpcs=service.most_in_flight,
    )
    found = GrpcServer(service, server, token)
    await found.set_ready(ready=False)
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, _credentials(tls))
    except RuntimeError as error:
        raise StartError("AddressInUse", f"{address} cannot be listened on; stop what listens there") from error
    await server.start()
    try:
        yield found
    finally:
        await server.stop(0)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials that follow the files."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([tls.key_and_chain])

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration)
