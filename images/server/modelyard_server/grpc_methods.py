"""The methods of the Open Inference Protocol v2 over gRPC, and of gRPC's health protocol, over ``Service``."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Final

from google.protobuf.message import DecodeError

from modelyard_server import documents, grpc_codec, grpc_head, grpc_raw
from modelyard_server import open_inference_pb2 as messages
from modelyard_server.batch_queue import Job
from modelyard_server.errors import RequestError
from modelyard_server.grpc_call import Call
from modelyard_server.grpc_codec import Wanted
from modelyard_server.grpc_health import Health
from modelyard_server.grpc_message import too_large
from modelyard_server.security import Token
from modelyard_server.service import Service
from modelyard_server.tensors import Tensor

log = logging.getLogger(__name__)

NAME: Final = "inference.GRPCInferenceService"
_INFER: Final = f"{NAME}/ModelInfer"
_INFER_PATH: Final = f"/{_INFER}".encode()
_CHECK: Final = b"/grpc.health.v1.Health/Check"
_WATCH: Final = b"/grpc.health.v1.Health/Watch"
_OPEN: Final = (_CHECK, _WATCH)
"""What the kubelet and proxies ask, which have no token."""
_BESIDE_TENSORS: Final = 64 * 1024
"""Bytes that a message may have above the largest payload, and that one without tensors may have."""


class InferenceMethods:
    """Answers calls; those of ``health`` without a token."""

    def __init__(self, service: Service, token: Token | None, health: Health) -> None:
        self._service = service
        self._token = token
        self._health = health
        self._calls = 0
        self._unary: Mapping[bytes, Callable[[bytes], bytes]] = {
            **{
                f"/{NAME}/{method}".encode(): answer
                for method, answer in (
                    ("ServerLive", self._server_live),
                    ("ServerReady", self._server_ready),
                    ("ModelReady", self._model_ready),
                    ("ServerMetadata", self._server_metadata),
                    ("ModelMetadata", self._model_metadata),
                )
            },
            _CHECK: health.check,
        }
        self._paths = {*self._unary, _INFER_PATH, _WATCH}
        self.most_bytes = service.run.max_payload_bytes + _BESIDE_TENSORS
        """Of a request's message."""
        self.lead = 0
        """Where in the latest long message the first raw tensor began: as a rule that is the same in all of a model."""

    def begin(self, call: Call) -> None:
        """Raise RequestError unless the call may be made."""
        if self._calls >= self._service.most_in_flight:
            raise RequestError(f"{self._calls} calls are in flight; try again", 429)
        self._calls += 1
        call.entered = True
        path = call.head.path
        if path not in self._paths:
            raise RequestError("Method not found!", 501)
        if self._token is not None and path not in _OPEN:
            self._token.check(call.head.authorization)

    def hold(self, call: Call, size: int) -> None:
        """Let in a message of ``size`` bytes; raises RequestError when there is no room for it."""
        if call.head.path != _INFER_PATH:
            if size > _BESIDE_TENSORS:
                raise too_large(_BESIDE_TENSORS)
        else:
            _ = self._service.signature
            self._service.admit()
            call.admitted = True
            self._service.hold(size)
            call.held = size

    def end(self, call: Call) -> None:
        """Give back what the call held."""
        if call.entered:
            self._calls -= 1
            call.entered = False
        if call.admitted:
            self._service.release(call.held)
            call.admitted = False
            if call.gone:
                self._service.metrics.fail("Gone")
        elif call.streaming:
            self._health.forget(call)

    def handle(self, call: Call, message: bytes | memoryview) -> None:
        """Answer a call whose message is there."""
        path = call.head.path
        try:
            if path == _INFER_PATH:
                self._infer(call, message)
            elif path == _WATCH:
                self._health.watch(call, bytes(message))
            else:
                call.answer(self._unary[path](bytes(message)))
        except DecodeError:
            self.refuse(call, RequestError(f"the message is none that {path.decode('latin-1')} takes"))
        except Exception as error:  # noqa: BLE001 - the one place: every error becomes a status
            self.refuse(call, error)

    def refuse(self, call: Call, error: Exception) -> None:
        """End a call with the status that tells why there is no answer."""
        if call.answered or call.gone:
            return
        service = self._service
        if isinstance(error, RequestError):
            status, text = error.status, str(error)
        else:
            identity = secrets.token_hex(8)
            log.error("%s: request %s failed", service.run.name, identity, exc_info=error)
            status, text = 500, f"internal error; the server's log has it under {identity}"
        code = grpc_head.CODES.get(status, grpc_head.INTERNAL)
        if call.head.path == _INFER_PATH:
            service.failed("grpc", status, call.start)
            if service.traces is not None:
                service.traces.grpc(call.head.fields, _INFER, grpc_head.NAMES[code], call.start)
        call.fail(code, text)

    def _infer(self, call: Call, message: bytes | memoryview) -> None:
        service = self._service
        call.start = start = time.perf_counter()
        raw: list[memoryview] = []
        if len(message) < grpc_raw.WORTH:
            kept = bytes(message)
        else:
            kept, places = grpc_raw.split(message)
            raw = [memoryview(message)[begin:end] for begin, end in places]
            if places:
                self.lead = places[0][0]
        request = messages.ModelInferRequest.FromString(kept)
        service.check_name(request.model_name, request.model_version)
        wanted = grpc_codec.decode(request, service.signature, raw)
        done = partial(self._done, call, wanted, start)
        job = service.submit(wanted.inputs, wanted.names, done, seconds=call.remaining())
        if not call.answered:
            call.on_gone = partial(service.cancel, job)

    def _done(self, call: Call, wanted: Wanted, start: float, job: Job, outcome: Sequence[Tensor] | Exception) -> None:
        """Answer with what the model gave."""
        if call.answered or call.gone:
            return
        if isinstance(outcome, Exception):
            self.refuse(call, outcome)
            return
        service = self._service
        try:
            answer = grpc_codec.encode(wanted, service.signature, outcome).SerializeToString()
        except Exception as error:  # noqa: BLE001 - as in ``handle``, which has returned long since
            self.refuse(call, error)
            return
        service.answered("grpc", start)
        if service.traces is not None:
            service.traces.grpc(call.head.fields, _INFER, grpc_head.NAMES[grpc_head.OK], start, job)
        call.answer(answer)

    def _server_live(self, message: bytes) -> bytes:
        messages.ServerLiveRequest.FromString(message)
        return messages.ServerLiveResponse(live=True).SerializeToString()

    def _server_ready(self, message: bytes) -> bytes:
        messages.ServerReadyRequest.FromString(message)
        return messages.ServerReadyResponse(ready=self._service.ready).SerializeToString()

    def _model_ready(self, message: bytes) -> bytes:
        """Another model is not ready, as at Triton; its clients take a status in place of the answer for a failure."""
        request = messages.ModelReadyRequest.FromString(message)
        try:
            self._service.check_name(request.name, request.version)
            ready = self._service.ready
        except RequestError:
            ready = False
        return messages.ModelReadyResponse(ready=ready).SerializeToString()

    def _server_metadata(self, message: bytes) -> bytes:
        messages.ServerMetadataRequest.FromString(message)
        version = metadata.version("modelyard")
        return messages.ServerMetadataResponse(name=documents.NAME, version=version).SerializeToString()

    def _model_metadata(self, message: bytes) -> bytes:
        request = messages.ModelMetadataRequest.FromString(message)
        self._service.check_name(request.name, request.version)
        signature = self._service.signature
        tensor = messages.ModelMetadataResponse.TensorMetadata
        inputs, outputs = (
            [tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]
            for specs in (signature.inputs, signature.outputs)
        )
        answer = messages.ModelMetadataResponse(
            name=signature.model,
            versions=[signature.version],
            platform=documents.PLATFORM,
            inputs=inputs,
            outputs=outputs,
        )
        return answer.SerializeToString()
