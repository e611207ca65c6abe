"""What the JSON of an ``infer`` request says: which inputs lie where, and which outputs are wanted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.contract.artifact import TensorSpec
from modelyard_server.errors import RequestError, shown
from modelyard_server.tensors import Signature, check_shape, dimensions

_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One output of the answer."""

    spec: TensorSpec
    binary: bool

    def __hash__(self) -> int:
        return hash((self.spec.name, self.binary))

    @property
    def raw(self) -> bool:
        """Whether its bytes go out as numpy has them."""
        return self.binary and self.spec.datatype != "BYTES"


@dataclass(frozen=True, slots=True)
class Input:
    """One input: ``size`` bytes of binary data at ``start``, or without a size the JSON value ``data``."""

    spec: TensorSpec
    shape: tuple[int, ...]
    start: int
    size: int | None
    data: object


@dataclass(frozen=True, slots=True)
class InferPlan:
    """How to read a request, whatever its binary data is. Names, datatypes and shapes fit the signature."""

    inputs: tuple[Input, ...]
    outputs: tuple[WantedOutput, ...]
    names: tuple[str, ...]
    id: str | None
    seconds: float
    """How long the client waits: Triton's request parameter ``timeout``, which is in microseconds."""
    size: int
    """Bytes of all binary data."""

    @property
    def constant(self) -> bool:
        """Whether all that differs between requests is binary data."""
        return self.id is None and all(each.size is not None for each in self.inputs)

    def check_rest(self, size: int) -> None:
        """Raise RequestError unless so many bytes of binary data are what the inputs need."""
        if size > self.size:
            raise RequestError(f"body: {size - self.size} bytes follow the last tensor; give each its binary_data_size")
        left = size
        for each in self.inputs:
            if each.size is not None:
                if each.size > left:
                    raise _short(each.spec, each.size, left)
                left -= each.size


def plan_of(document: Mapping[str, object], rest: int | None, signature: Signature) -> InferPlan:
    """The plan of a request whose JSON is ``document`` and is followed by ``rest`` bytes; None: by no binary data.

    Raises RequestError.
    """
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise RequestError("id must be a string")
    inputs, size = _inputs(document, rest, signature)
    signature.check({each.spec.name: each.shape for each in inputs})
    outputs = _outputs(document, signature)
    names = tuple(output.spec.name for output in outputs)
    return InferPlan(inputs, outputs, names, identifier, _seconds(document), size)


def _inputs(document: Mapping[str, object], rest: int | None, signature: Signature) -> tuple[tuple[Input, ...], int]:
    found: dict[str, Input] = {}
    start = 0
    for entry in _entries(document, "inputs"):
        spec = signature.input(entry.get("name"))
        if spec.name in found:
            raise RequestError(f"input '{spec.name}' is given twice")
        if entry.get("datatype") != spec.datatype:
            raise RequestError(
                f"input '{spec.name}': datatype {shown(entry.get('datatype'))} does not fit {spec.datatype}"
            )
        shape = _shape(entry, spec)
        size = _binary_size(entry, spec)
        if size is None:
            if "data" not in entry:
                raise RequestError(f"input '{spec.name}': data is missing; give it, or binary_data_size")
        elif rest is None:
            raise RequestError(f"input '{spec.name}': binary_data_size needs the header {_HEADER}")
        elif size > rest - start:
            raise _short(spec, size, rest - start)
        found[spec.name] = Input(spec, shape, start, size, entry.get("data"))
        start += size or 0
    return tuple(found.values()), start


def _short(spec: TensorSpec, size: int, left: int) -> RequestError:
    return RequestError(f"input '{spec.name}': binary_data_size is {size}, the body has {left} bytes left")


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


def _seconds(document: Mapping[str, object]) -> float:
    timeout = _parameters(document, "request").get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise RequestError("parameter timeout must be a whole number of microseconds")
    return timeout / 1e6 or math.inf


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
