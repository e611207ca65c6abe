"""Open Inference Protocol v2 as a table: what is asked of a model and what it answers, whatever the transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tests.conformance.models import NUMBERS

DTYPES: Mapping[str, str] = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "BF16": "<u2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
RAW_ONLY = ("FP16", "BF16")
"""Datatypes that only raw bytes carry."""
BAD, UNKNOWN = "bad", "unknown"
"""HTTP 400 or INVALID_ARGUMENT, and HTTP 404 or NOT_FOUND."""


@dataclass(frozen=True)
class Tensor:
    """A named tensor: of ``data``, flat and row-major, or of other bytes than those."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[object]
    raw: bytes | None = None

    def __str__(self) -> str:
        return f"{self.datatype}{list(self.shape)} {list(self.data)}"

    def bytes(self) -> bytes:
        """The data as the protocol's raw form has it."""
        if self.raw is not None:
            return self.raw
        if self.datatype == "BYTES":
            texts = [str(text).encode() for text in self.data]
            return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        array: NDArray[np.generic] = np.array(self.data, DTYPES[self.datatype])
        return array.tobytes()


@dataclass(frozen=True)
class Case:
    """A request, and its outputs or why it is refused."""

    model: str
    inputs: Sequence[Tensor]
    expected: Sequence[Tensor] | str
    outputs: Sequence[str] = ()
    """Names of the outputs that are asked for; none: all."""
    version: str = ""

    @property
    def raw_only(self) -> bool:
        """Whether typed values cannot carry it."""
        expected = () if isinstance(self.expected, str) else self.expected
        return any(each.datatype in RAW_ONLY or each.raw is not None for each in (*self.inputs, *expected))


RAMP, ONES = list(range(16)), [1] * 16
INPUT0, INPUT1 = Tensor("INPUT0", "INT32", [1, 16], RAMP), Tensor("INPUT1", "INT32", [1, 16], ONES)
OUTPUT0 = Tensor("OUTPUT0", "INT32", [1, 16], [value + 1 for value in RAMP])
OUTPUT1 = Tensor("OUTPUT1", "INT32", [1, 16], [value - 1 for value in RAMP])
X, Y = Tensor("x", "FP32", [1, 4], [0.5, 1, 2, 4]), Tensor("y", "FP32", [1, 4], [1, 2, 4, 8])
FLAG = Tensor("flag", "BOOL", [2], [True, False])
TEXT = Tensor("text", "BYTES", [3], ["é", "", "long" * 100])
HALF = Tensor("half", "FP16", [2], [0.5, -2])
BRAIN = Tensor("x", "BF16", [1, 2], [0x3F80, 0xC000])


def out(tensor: Tensor, name: str | None = None) -> Tensor:
    """The same tensor as the output of an identity."""
    return replace(tensor, name=name or f"{tensor.name}_out")


def extreme(name: str, datatype: str) -> Tensor:
    """The numbers at which a datatype ends."""
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        data = [float(info.max), float(info.min), float(info.smallest_subnormal), -0.0]
    else:
        limits = np.iinfo(dtype)
        data = [int(limits.max), int(limits.min), 0, 1]
    return Tensor(name, datatype, [4], data)


EXTREMES = [extreme(name, datatype) for name, datatype in NUMBERS.items()]

CASES: Mapping[str, Case] = {
    "two inputs, two outputs": Case("simple", [INPUT0, INPUT1], [OUTPUT0, OUTPUT1]),
    "inputs in another order": Case("simple", [INPUT1, INPUT0], [OUTPUT0, OUTPUT1]),
    "some outputs": Case("simple", [INPUT0, INPUT1], [OUTPUT1], ["OUTPUT1"]),
    "outputs in another order": Case("simple", [INPUT0, INPUT1], [OUTPUT1, OUTPUT0], ["OUTPUT1", "OUTPUT0"]),
    "two rows": Case(
        "double",
        [replace(X, shape=[2, 4], data=[0, 1, 2, 3, 4, 5, 6, 7])],
        [replace(Y, shape=[2, 4], data=[0, 2, 4, 6, 8, 10, 12, 14])],
    ),
    "no rows": Case("double", [replace(X, shape=[0, 4], data=[])], [replace(Y, shape=[0, 4], data=[])]),
    "many rows": Case(
        "double",
        [replace(X, shape=[1000, 4], data=[0.25] * 4000)],
        [replace(Y, shape=[1000, 4], data=[0.5] * 4000)],
    ),
    "every number type at its limits": Case("numbers", EXTREMES, [out(each) for each in EXTREMES]),
    "BOOL, BYTES and FP16": Case("types", [FLAG, TEXT, HALF], [out(FLAG), out(TEXT), out(HALF)]),
    "BF16": Case("brain", [BRAIN], [out(BRAIN, "y")]),
    "unknown model": Case("nobody", [X], UNKNOWN),
    "unknown version": Case("double", [X], UNKNOWN, version="none"),
    "no inputs": Case("double", [], BAD),
    "missing input": Case("simple", [INPUT0], BAD),
    "duplicate input": Case("simple", [INPUT0, INPUT1, INPUT1], BAD),
    "unknown input": Case("double", [X, replace(X, name="z")], BAD),
    "unknown output": Case("double", [X], BAD, ["z"]),
    "wrong rank": Case("double", [replace(X, shape=[4])], BAD),
    "no dimension": Case("double", [replace(X, shape=[], data=[1])], BAD),
    "wrong size": Case("double", [replace(X, shape=[1, 5], data=[1, 2, 3, 4, 5])], BAD),
    "negative size": Case("double", [replace(X, shape=[-1, 4])], BAD),
    "sizes whose product overflows": Case("double", [replace(X, shape=[2**62, 4])], BAD),
    "sizes whose product wraps to the data": Case("double", [replace(X, shape=[2**62 + 1, 4])], BAD),
    "wrong datatype": Case("double", [replace(X, datatype="INT32", data=[1, 2, 3, 4])], BAD),
    "unknown datatype": Case("double", [replace(X, datatype="FLOAT", raw=bytes(16))], BAD),
    "too little data": Case("double", [replace(X, data=[1, 2, 3])], BAD),
    "too much data": Case("double", [replace(X, data=[1, 2, 3, 4, 5])], BAD),
    "BOOL that is neither 0 nor 1": Case("types", [replace(FLAG, raw=b"\1\2"), TEXT, HALF], BAD),
    "a text that ends early": Case("types", [FLAG, replace(TEXT, shape=[1], raw=b"\5\0\0\0abc"), HALF], BAD),
    "a text's length that ends early": Case("types", [FLAG, replace(TEXT, shape=[1], raw=b"\5\0"), HALF], BAD),
    "a text's length beyond 2 GiB": Case("types", [FLAG, replace(TEXT, shape=[1], raw=b"\xff\xff\xff\xff"), HALF], BAD),
    "fewer texts than the shape says": Case("types", [FLAG, replace(TEXT, shape=[4]), HALF], BAD),
}
