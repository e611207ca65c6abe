"""Open Inference Protocol v2 over gRPC: messages to tensors, and results to messages.

Requests carry tensors raw or as typed contents; answers are always raw, as Triton's are (triton server#2937).
Source: kserve/open-inference-protocol specification/protocol/open_inference_grpc.proto.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.contract.artifact import TensorSpec
from modelyard_server import v2_binary
from modelyard_server.errors import RequestError, shown
from modelyard_server.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from modelyard_server.tensors import DTYPES, Signature, Tensor, check_shape, dimensions

_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents by datatype; FP16 and BF16 have none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one ModelInfer asks for. The inputs are complete and fit the signature."""

    inputs: Mapping[str, Tensor]
    outputs: tuple[TensorSpec, ...]
    names: tuple[str, ...]
    id: str


def decode(request: ModelInferRequest, signature: Signature, raw: Sequence[memoryview] = ()) -> Wanted:
    """The request in a message, whose raw tensors may have been taken out of it into ``raw``. Raises RequestError."""
    raw = raw or [memoryview(each) for each in request.raw_input_contents]
    if raw and len(raw) != len(request.inputs):
        raise RequestError(f"raw_input_contents has {len(raw)} tensors, inputs has {len(request.inputs)}")
    tensors: dict[str, Tensor] = {}
    for number, entry in enumerate(request.inputs):
        spec = signature.input(entry.name)
        if spec.name in tensors:
            raise RequestError(f"input '{spec.name}' is given twice")
        if entry.datatype != spec.datatype:
            raise RequestError(f"input '{spec.name}': datatype {shown(entry.datatype)} does not fit {spec.datatype}")
        shape = tuple(entry.shape)
        if any(size < 0 for size in shape):
            raise RequestError(f"input '{spec.name}': shape must be sizes, to fit {dimensions(spec.shape)}")
        check_shape(spec, shape)
        if not raw:
            tensors[spec.name] = _from_contents(entry.contents, spec, shape)
        elif entry.HasField("contents"):
            raise RequestError(f"input '{spec.name}': contents and raw_input_contents exclude each other")
        else:
            tensors[spec.name] = v2_binary.decode(raw[number], spec, shape)
    signature.check({name: tensor.shape for name, tensor in tensors.items()})
    outputs = tuple(signature.output(output.name) for output in request.outputs) or signature.outputs
    names = tuple(spec.name for spec in outputs)
    if len(set(names)) != len(names):
        raise RequestError("outputs: each may be asked for once")
    return Wanted(tensors, outputs, names, request.id)


def encode(wanted: Wanted, signature: Signature, results: Sequence[Tensor]) -> ModelInferResponse:
    """The answer that holds ``results``, one for each wanted output."""
    response = ModelInferResponse(model_name=signature.model, model_version=signature.version, id=wanted.id)
    for spec, tensor in zip(wanted.outputs, results, strict=True):
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=tensor.shape)
        response.raw_output_contents.append(bytes(v2_binary.encode(tensor)))
    return response


def _from_contents(contents: InferTensorContents, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    field = _FIELDS.get(spec.datatype)
    if field is None:
        raise RequestError(f"input '{spec.name}': {spec.datatype} has no typed contents; use raw_input_contents")
    values: Sequence[object] = getattr(contents, field)
    needed = math.prod(shape)
    if len(values) != needed:
        raise RequestError(
            f"input '{spec.name}': {field} has {len(values)} elements, shape {dimensions(shape)} needs {needed}"
        )
    if spec.datatype == "BYTES":
        return _texts(values, spec).reshape(shape)
    dtype = DTYPES[spec.datatype]
    try:
        return np.fromiter(values, dtype, needed).reshape(shape)
    except OverflowError:
        raise RequestError(f"input '{spec.name}': {field} holds values out of the range of {spec.datatype}") from None


def _texts(values: Iterable[object], spec: TensorSpec) -> Tensor:
    texts: list[str] = []
    for value in values:
        assert isinstance(value, bytes)
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            raise RequestError(
                f"input '{spec.name}': element {len(texts)} is not UTF-8, as ONNX strings must be"
            ) from None
    return np.array(texts, dtype=object)
