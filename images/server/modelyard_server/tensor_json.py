"""JSON values to tensors and back, for both protocols."""

import json
import math

import numpy as np
import orjson

from modelyard.contract.artifact import TensorSpec
from modelyard_server.errors import RequestError
from modelyard_server.tensors import DTYPES, Tensor, dimensions

_JSON_TYPES: dict[str, frozenset[type]] = {
    "b": frozenset((bool,)),
    "i": frozenset((int,)),
    "u": frozenset((int,)),
    "f": frozenset((int, float)),
    "O": frozenset((str,)),
}
"""The types that JSON values may have, by the kind of the numpy type that they become."""
_DEEPEST = 64
_NO_JSON_FORM = ("FP16", "BF16")


def decode(data: object, spec: TensorSpec) -> Tensor:
    """The nested lists of ``data`` as a tensor of the input's datatype; the nesting gives the shape.

    Raises RequestError for ragged lists, values of another type or out of range, and FP16 and BF16, which have no
    JSON form.
    """
    if spec.datatype in _NO_JSON_FORM:
        raise _no_json_form(spec, "input")
    dtype = DTYPES[spec.datatype]
    # numpy would guess: it makes numbers of strings, and the longest string sizes every element of an array of them.
    if not _leaf_types(data, spec) <= _JSON_TYPES[dtype.kind]:
        raise RequestError(f"input '{spec.name}': data holds values that are not {spec.datatype}")
    try:
        with np.errstate(over="raise"):
            tensor = np.array(data, dtype)
        if dtype.kind == "O":
            "".join(tensor.flat).encode()
    except (OverflowError, FloatingPointError):
        raise RequestError(f"input '{spec.name}': data holds values out of the range of {spec.datatype}") from None
    except UnicodeEncodeError:
        raise RequestError(f"input '{spec.name}': data holds a string that is not valid Unicode") from None
    except (ValueError, TypeError):
        raise RequestError(f"input '{spec.name}': data is ragged; lists side by side must be equally long") from None
    return tensor


def shaped(tensor: Tensor, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    """``tensor``, which is flat or has ``shape`` already, in ``shape``. Raises RequestError."""
    if tensor.size != math.prod(shape):
        raise RequestError(
            f"input '{spec.name}': data has {tensor.size} elements, shape {dimensions(shape)} needs {math.prod(shape)}"
        )
    if tensor.ndim > 1 and tensor.shape != shape:
        raise RequestError(
            f"input '{spec.name}': data is nested as {dimensions(tensor.shape)}, shape says {dimensions(shape)}"
        )
    return tensor.reshape(shape)


def encode(tensor: Tensor, spec: TensorSpec) -> bytes:
    """An output as the JSON text of nested lists, or of one value if it has no dimension.

    NaN and infinities become the tokens that Python and JavaScript read; null would read as 0 elsewhere.
    Raises RequestError for FP16 and BF16.
    """
    if spec.datatype in _NO_JSON_FORM:
        raise _no_json_form(spec, "output")
    if tensor.dtype.kind == "O":
        return orjson.dumps(tensor.tolist())
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        return json.dumps(tensor.tolist()).encode()
    value = np.ascontiguousarray(tensor) if tensor.ndim else tensor[()]
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _leaf_types(data: object, spec: TensorSpec, depth: int = 0) -> set[type]:
    """The types of the values in nested lists, as JSON parsing made them."""
    if not isinstance(data, list):
        return {type(data)}
    if depth == _DEEPEST:
        raise RequestError(f"input '{spec.name}': data is nested deeper than {_DEEPEST} lists")
    types = set(map(type, data))
    if list in types:
        types.remove(list)
        for item in data:
            if isinstance(item, list):
                types |= _leaf_types(item, spec, depth + 1)
    return types


def _no_json_form(spec: TensorSpec, role: str) -> RequestError:
    return RequestError(f"{role} '{spec.name}': {spec.datatype} has no JSON form; use the binary data of protocol v2")
