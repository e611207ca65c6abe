"""TensorFlow Serving v1: a ``:predict`` body to tensors, and results to a body.

Source: tensorflow/serving tensorflow_serving/g3doc/api_rest.md, "Predict API" and "Encoding binary values".
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from modelyard.contract.artifact import TensorSpec
from modelyard_server import json_text, tensor_json
from modelyard_server.errors import RequestError, shown
from modelyard_server.tensors import Signature, Tensor

SIGNATURE_NAME = "serving_default"
_BASE64 = "b64"
_BINARY_SUFFIX = "_bytes"


@dataclass(frozen=True)
class PredictRequest:
    """What one ``:predict`` request asks for. The inputs are complete and fit the signature."""

    inputs: Mapping[str, Tensor]
    rows: bool
    """Whether it came in row form (``instances``), so that the answer has ``predictions``."""


def decode(body: bytes | memoryview, signature: Signature) -> PredictRequest:
    """The request in ``body``. Raises RequestError."""
    document = json_text.parse_object(body)
    if document.get("signature_name", SIGNATURE_NAME) != SIGNATURE_NAME:
        raise RequestError(f"signature_name {shown(document['signature_name'])} is unknown; use {SIGNATURE_NAME}")
    if ("instances" in document) == ("inputs" in document):
        raise RequestError("body needs either instances (rows) or inputs (columns)")
    rows = "instances" in document
    columns = _columns(document["instances"], signature) if rows else _named(document["inputs"], signature)
    tensors: dict[str, Tensor] = {}
    for name, value in columns.items():
        spec = signature.input(name)
        tensors[name] = tensor_json.decode(_plain_texts(value, spec) if spec.datatype == "BYTES" else value, spec)
    signature.check({name: tensor.shape for name, tensor in tensors.items()})
    return PredictRequest(tensors, rows)


def encode(request: PredictRequest, signature: Signature, results: Sequence[Tensor]) -> bytes:
    """The body of the answer that holds ``results``, one for each output of the signature.

    A single output goes without its name. Raises RequestError for FP16, and in row form for an output without rows.
    """
    columns = list(zip(signature.outputs, results, strict=True))
    if not request.rows:
        named = {spec.name: _encode(tensor, spec) for spec, tensor in columns}
        return orjson.dumps({"outputs": named if len(columns) > 1 else named[columns[0][0].name]})
    count = len(next(iter(request.inputs.values())))
    for spec, tensor in columns:
        if tensor.shape[:1] != (count,):
            raise RequestError(f"output '{spec.name}' has no row for each instance; ask with inputs (columns)")
    if len(columns) == 1:
        return orjson.dumps({"predictions": _encode(columns[0][1], columns[0][0])})
    rows = [{spec.name: _encode(tensor[row, ...], spec) for spec, tensor in columns} for row in range(count)]
    return orjson.dumps({"predictions": rows})


def _columns(instances: object, signature: Signature) -> dict[str, object]:
    if not isinstance(instances, list):
        raise RequestError("instances must be a list")
    if not any(_is_named(row) for row in instances):
        return _named(instances, signature)
    if not all(isinstance(row, dict) and row.keys() == instances[0].keys() for row in instances):
        raise RequestError("instances must all name the same inputs")
    return {name: [row[name] for row in instances] for name in instances[0]}


def _named(value: object, signature: Signature) -> dict[str, object]:
    if isinstance(value, dict) and _is_named(value):
        return value
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise RequestError(f"body must name the inputs: {names}")
    return {signature.inputs[0].name: value}


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and value.keys() != {_BASE64}


def _plain_texts(value: object, spec: TensorSpec) -> object:
    """``value`` with each ``{"b64": ...}`` replaced by the text that it stands for."""
    if isinstance(value, list):
        return [_plain_texts(item, spec) for item in value]
    if not isinstance(value, dict):
        return value
    encoded = value.get(_BASE64)
    try:
        return base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise RequestError(f"input '{spec.name}': b64 must be base64 of UTF-8 text") from None


def _encode(tensor: Tensor, spec: TensorSpec) -> object:
    if spec.datatype == "BYTES" and spec.name.endswith(_BINARY_SUFFIX):
        return _base64_texts(tensor.tolist())
    return orjson.Fragment(tensor_json.encode(tensor, spec))


def _base64_texts(value: object) -> object:
    if isinstance(value, list):
        return [_base64_texts(item) for item in value]
    return {_BASE64: base64.b64encode(str(value).encode()).decode()}
