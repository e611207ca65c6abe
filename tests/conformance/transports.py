"""Four ways to ask the same: HTTP with JSON or binary tensors, gRPC with typed contents or raw ones."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc
import httpx
import numpy as np
from tests.conformance.table import BAD, DTYPES, UNKNOWN, Case, Tensor

from modelyard_server import open_inference_pb2 as messages

SECONDS = 30.0
_HEADER = "Inference-Header-Content-Length"
_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class Transport(Protocol):
    """Asks a server."""

    name: str
    raw: bool
    """Whether it carries raw bytes."""

    def infer(self, case: Case) -> Sequence[Tensor] | str:
        """The outputs, or why there are none: BAD, UNKNOWN, or what the server said otherwise."""
        ...

    def ready(self, model: str) -> bool:
        """Whether the model is there and ready."""
        ...

    def metadata(self, model: str) -> tuple[list[tuple[str, str, list[int]]], list[tuple[str, str, list[int]]]]:
        """Name, datatype and shape of each input and output."""
        ...


class Rest:
    """HTTP."""

    def __init__(self, url: str, *, raw: bool) -> None:
        self.name = "REST binary" if raw else "REST JSON"
        self.raw = raw
        self._url = url

    def infer(self, case: Case) -> Sequence[Tensor] | str:
        version = f"/versions/{case.version}" if case.version else ""
        inputs = [self._entry(tensor) for tensor in case.inputs]
        document: dict[str, object] = {"id": "7", "inputs": inputs}
        if case.outputs:
            document["outputs"] = [{"name": name, "parameters": {"binary_data": self.raw}} for name in case.outputs]
        elif self.raw:
            document["parameters"] = {"binary_data_output": True}
        head = json.dumps(document).encode()
        body = head + b"".join(tensor.bytes() for tensor in case.inputs) if self.raw else head
        headers = {"Content-Type": "application/octet-stream" if self.raw else "application/json"}
        if self.raw:
            headers[_HEADER] = str(len(head))
        answer = httpx.post(
            f"{self._url}/v2/models/{case.model}{version}/infer", content=body, headers=headers, timeout=SECONDS
        )
        if answer.status_code != 200:
            told = f"{answer.status_code} {answer.text}"
            return {400: BAD, 404: UNKNOWN}.get(answer.status_code, told) if has_error(answer) else told
        return _outputs(answer)

    def _entry(self, tensor: Tensor) -> dict[str, object]:
        entry: dict[str, object] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if self.raw:
            return entry | {"parameters": {"binary_data_size": len(tensor.bytes())}}
        return entry | {"data": tensor.data}

    def ready(self, model: str) -> bool:
        return httpx.get(f"{self._url}/v2/models/{model}/ready").status_code == 200

    def metadata(self, model: str) -> tuple[list[tuple[str, str, list[int]]], list[tuple[str, str, list[int]]]]:
        document = httpx.get(f"{self._url}/v2/models/{model}").json()
        inputs, outputs = (
            [(each["name"], each["datatype"], each["shape"]) for each in document[side]]
            for side in ("inputs", "outputs")
        )
        return inputs, outputs


def has_error(answer: httpx.Response) -> bool:
    """Whether the body is JSON with one member, error, which is a text."""
    try:
        document = answer.json()
    except ValueError:
        return False
    return isinstance(document, dict) and {key: type(value) for key, value in document.items()} == {"error": str}


def _outputs(answer: httpx.Response) -> list[Tensor]:
    size = int(answer.headers.get(_HEADER, len(answer.content)))
    raw = answer.content[size:]
    document = json.loads(answer.content[:size])
    assert document["id"] == "7", document
    found = []
    for output in document["outputs"]:
        length = (output.get("parameters") or {}).get("binary_data_size")
        data = output["data"] if length is None else from_raw(raw[:length], output["datatype"])
        raw = raw[length or 0 :]
        found.append(Tensor(output["name"], output["datatype"], output["shape"], data))
    assert raw == b"", f"{len(raw)} bytes follow the last tensor"
    return found


def from_raw(data: bytes, datatype: str) -> list[Any]:
    """The values of raw bytes."""
    if datatype != "BYTES":
        values: list[Any] = np.frombuffer(data, DTYPES[datatype]).tolist()
        return values
    texts: list[Any] = []
    while data:
        size = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:size].decode())
        data = data[size:]
    return texts


class Grpc:
    """gRPC."""

    def __init__(self, address: str, *, raw: bool) -> None:
        self.name = "gRPC raw" if raw else "gRPC contents"
        self.raw = raw
        self._address = address

    def infer(self, case: Case) -> Sequence[Tensor] | str:
        request = messages.ModelInferRequest(model_name=case.model, model_version=case.version, id="7")
        for tensor in case.inputs:
            entry = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            if self.raw:
                request.raw_input_contents.append(tensor.bytes())
            else:
                values = [str(each).encode() for each in tensor.data] if tensor.datatype == "BYTES" else tensor.data
                getattr(entry.contents, _FIELDS[tensor.datatype]).extend(values)
        for name in case.outputs:
            request.outputs.add(name=name)
        try:
            answer = self.ask("ModelInfer", request, messages.ModelInferResponse)
        except grpc.RpcError as error:
            code, text = error.code(), error.details()
            assert text, code
            known = {grpc.StatusCode.INVALID_ARGUMENT: BAD, grpc.StatusCode.NOT_FOUND: UNKNOWN}
            return known.get(code, f"{code} {text}")
        assert (answer.model_name, answer.id) == (case.model, "7"), (answer.model_name, answer.id)
        return [
            Tensor(each.name, each.datatype, list(each.shape), self._values(answer, number))
            for number, each in enumerate(answer.outputs)
        ]

    def _values(self, answer: messages.ModelInferResponse, number: int) -> list[Any]:
        output = answer.outputs[number]
        if answer.raw_output_contents:
            return from_raw(answer.raw_output_contents[number], output.datatype)
        values = list(getattr(output.contents, _FIELDS[output.datatype]))
        return [value.decode() for value in values] if output.datatype == "BYTES" else values

    def ready(self, model: str) -> bool:
        request = messages.ModelReadyRequest(name=model)
        try:
            return bool(self.ask("ModelReady", request, messages.ModelReadyResponse).ready)
        except grpc.RpcError:
            return False

    def metadata(self, model: str) -> tuple[list[tuple[str, str, list[int]]], list[tuple[str, str, list[int]]]]:
        request = messages.ModelMetadataRequest(name=model)
        answer = self.ask("ModelMetadata", request, messages.ModelMetadataResponse)
        inputs, outputs = (
            [(each.name, each.datatype, list(each.shape)) for each in side] for side in (answer.inputs, answer.outputs)
        )
        return inputs, outputs

    def ask(self, method: str, request: Any, kind: Any) -> Any:
        """The answer of one method, of ``kind``; raises grpc.RpcError."""
        with grpc.insecure_channel(self._address) as channel:
            call = channel.unary_unary(
                f"/inference.GRPCInferenceService/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=kind.FromString,
            )
            return call(request, timeout=SECONDS)
