"""What the served model takes and gives, and whether a tensor fits it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelyard.contract.artifact import TensorSpec
from modelyard_server.errors import RequestError, shown

Tensor: TypeAlias = NDArray[np.generic]
"""A numpy array of the type in DTYPES. BYTES is an object array of ``str``: ONNX strings are UTF-8 text."""

DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""By the datatype names of the Open Inference Protocol; little-endian, as its binary extension wants.

numpy has no bfloat16: a BF16 tensor is the bits of its numbers.
"""

_MOST_ELEMENTS = 2**40


@dataclass(frozen=True)
class Signature:
    """One model as every protocol describes it."""

    model: str
    version: str
    """The first hex digits of the artefact digest."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def batched(self) -> bool:
        """Whether the first dimension of every input and output varies, so that it counts rows."""
        return all(spec.shape[:1] == [-1] for spec in (*self.inputs, *self.outputs))

    def input(self, name: object) -> TensorSpec:
        """The input of that name; raises RequestError."""
        return _named(name, self.inputs, "input")

    def output(self, name: object) -> TensorSpec:
        """The output of that name; raises RequestError."""
        return _named(name, self.outputs, "output")

    def check(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Raise RequestError unless every input is there in a shape that fits. Names and datatypes are known good."""
        for spec in self.inputs:
            if spec.name not in shapes:
                raise RequestError(f"input '{spec.name}' is missing")
            check_shape(spec, shapes[spec.name])


def check_shape(spec: TensorSpec, shape: Sequence[int]) -> None:
    """Raise RequestError unless ``shape`` has the dimensions of the input, where -1 stands for any."""
    fits = len(shape) == len(spec.shape) and all(
        wanted in (-1, size) for wanted, size in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        raise RequestError(f"input '{spec.name}': shape {dimensions(shape)} does not fit {dimensions(spec.shape)}")
    if math.prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise RequestError(f"input '{spec.name}': shape {dimensions(shape)} is too large")


def dimensions(shape: Sequence[int]) -> str:
    """A shape for a message: ``[-1,1,8,8]``, or its rank where it is longer than any model's."""
    return f"[{','.join(map(str, shape))}]" if len(shape) <= 16 else f"of {len(shape)} dimensions"


def _named(name: object, specs: tuple[TensorSpec, ...], role: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in specs)
    raise RequestError(f"{role} {shown(name)} is unknown; the model has {known}")
