"""Open Inference Protocol v2: an ``infer`` body to tensors, and results to a body.

Sources: kserve/open-inference-protocol specification/protocol/inference_rest.md, and for binary data
triton-inference-server/server docs/protocol/extension_binary_data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from modelyard.contract.artifact import TensorSpec
from modelyard_server import json_text, tensor_json, v2_binary
from modelyard_server.errors import RequestError, shown
from modelyard_server.tensors import Signature, Tensor, check_shape, dimensions

JSON_SIZE_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class WantedOutput:
    """One output of the answer."""

    spec: TensorSpec
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """What one ``infer`` request asks for. The inputs are complete and fit the signature."""

    inputs: Mapping[str, Tensor]
    outputs: tuple[WantedOutput, ...]
    id: str | None


@dataclass(frozen=True)
class InferAnswer:
    """The body of an answer; binary data follows the first ``json_size`` bytes unless that is None."""

    body: bytes
    json_size: int | None


def json_size(value: bytes | None) -> int | None:
    """The value of the header Inference-Header-Content-Length in bytes, None without it. Raises RequestError."""
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise RequestError(f"header {JSON_SIZE_HEADER}: {shown(value)} is not a number of bytes")
    return int(value)


def decode(body: bytes, json_size: int | None, signature: Signature) -> InferRequest:
    """The request in ``body``, whose first ``json_size`` bytes are JSON (None: all of it, 0: one raw tensor).

    Raises RequestError.
    """
    if json_size == 0:
        return _decode_raw(body, signature)
    if json_size is not None and json_size > len(body):
        raise RequestError(f"header {JSON_SIZE_HEADER}: {json_size} bytes, the body has only {len(body)}")
    view = memoryview(body)
    document = json_text.parse_object(view if json_size is None else view[:json_size])
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise RequestError("id must be a string")
    inputs = _inputs(document, None if json_size is None else view[json_size:], signature)
    signature.check(inputs)
    return InferRequest(inputs, _outputs(document, signature), identifier)


def encode(request: InferRequest, signature: Signature, results: Sequence[Tensor]) -> InferAnswer:
    """The answer that holds ``results``, one for each wanted output. Raises RequestError for FP16 as JSON."""
    raw: list[bytes] = []
    outputs: list[dict[str, object]] = []
    for wanted, tensor in zip(request.outputs, results, strict=True):
        output: dict[str, object] = {
            "name": wanted.spec.name,
            "datatype": wanted.spec.datatype,
            "shape": tensor.shape,
        }
        if wanted.binary:
            raw.append(v2_binary.encode(tensor))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = orjson.Fragment(tensor_json.encode(tensor.reshape(-1), wanted.spec))
        outputs.append(output)
    document: dict[str, object] = {"model_name": signature.model, "model_version": signature.version}
    if request.id is not None:
        document["id"] = request.id
    head = orjson.dumps({**document, "outputs": outputs})
    if not any(wanted.binary for wanted in request.outputs):
        return InferAnswer(head, None)
    return InferAnswer(b"".join((head, *raw)), len(head))


def _decode_raw(body: bytes, signature: Signature) -> InferRequest:
    if len(signature.inputs) != 1:
        raise RequestError(f"header {JSON_SIZE_HEADER}: 0 needs a model with one input, not {len(signature.inputs)}")
    spec = signature.inputs[0]
    outputs = tuple(WantedOutput(output, binary=True) for output in signature.outputs)
    return InferRequest({spec.name: v2_binary.decode_body(body, spec)}, outputs, None)


def _inputs(document: Mapping[str, object], raw: memoryview | None, signature: Signature) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for entry in _entries(document, "inputs"):
        spec = signature.input(entry.get("name"))
        if spec.name in tensors:
            raise RequestError(f"input '{spec.name}' is given twice")
        if entry.get("datatype") != spec.datatype:
            raise RequestError(
                f"input '{spec.name}': datatype {shown(entry.get('datatype'))} does not fit {spec.datatype}"
            )
        shape = _shape(entry, spec)
        size = _binary_size(entry, spec)
        if size is None:
            tensors[spec.name] = _from_json(entry, spec, shape)
            continue
        if raw is None:
            raise RequestError(f"input '{spec.name}': binary_data_size needs the header {JSON_SIZE_HEADER}")
        if size > len(raw):
            raise RequestError(f"input '{spec.name}': binary_data_size is {size}, the body has {len(raw)} bytes left")
        tensors[spec.name] = v2_binary.decode(raw[:size], spec, shape)
        raw = raw[size:]
    if raw:
        raise RequestError(f"body: {len(raw)} bytes follow the last tensor; give each its binary_data_size")
    return tensors


def _outputs(document: Mapping[str, object], signature: Signature) -> tuple[WantedOutput, ...]:
    binary = _flag(_parameters(document, "request"), "binary_data_output", default=False)
    if not document.get("outputs"):
        return tuple(WantedOutput(spec, binary) for spec in signature.outputs)
    wanted: dict[str, WantedOutput] = {}
    for entry in _entries(document, "outputs"):
        spec = signature.output(entry.get("name"))
        if spec.name in wanted:
            raise RequestError(f"output '{spec.name}' is asked for twice")
        parameters = _parameters(entry, f"output '{spec.name}'")
        wanted[spec.name] = WantedOutput(spec, _flag(parameters, "binary_data", default=binary))
    return tuple(wanted.values())


def _entries(document: Mapping[str, object], field: str) -> list[dict[str, object]]:
    entries = document.get(field)
    if not isinstance(entries, list):
        raise RequestError(f"{field} must be a list of tensors")
    objects = [entry for entry in entries if isinstance(entry, dict)]
    if len(objects) != len(entries):
        raise RequestError(f"{field} must hold objects only")
    return objects


def _shape(entry: Mapping[str, object], spec: TensorSpec) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise RequestError(f"input '{spec.name}': shape must be a list of sizes, to fit {dimensions(spec.shape)}")
    check_shape(spec, shape)
    return tuple(shape)


def _from_json(entry: Mapping[str, object], spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    if "data" not in entry:
        raise RequestError(f"input '{spec.name}': data is missing; give it, or binary_data_size")
    return tensor_json.shaped(tensor_json.decode(entry["data"], spec), spec, shape)


def _binary_size(entry: Mapping[str, object], spec: TensorSpec) -> int | None:
    size = _parameters(entry, f"input '{spec.name}'").get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RequestError(f"input '{spec.name}': binary_data_size must be a number of bytes")
    if "data" in entry:
        raise RequestError(f"input '{spec.name}': data and binary_data_size exclude each other")
    return size


def _parameters(entry: Mapping[str, object], owner: str) -> dict[str, object]:
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError(f"{owner}: parameters must be an object")
    return parameters


def _flag(parameters: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"parameter {name} must be true or false")
    return value
