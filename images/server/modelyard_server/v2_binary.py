"""The binary tensor data extension of the Open Inference Protocol: raw bytes to tensors and back.

Little-endian, row-major, no padding; BOOL is one byte, a BYTES element a 4-byte length and the bytes.
Source: triton-inference-server/server docs/protocol/extension_binary_data.md.
"""

import math
import struct

import numpy as np

from modelyard.contract.artifact import TensorSpec
from modelyard_server.errors import RequestError
from modelyard_server.tensors import DTYPES, Tensor, check_shape, dimensions

_LENGTH = struct.Struct("<I")
_COPIED = 16 * 1024


def decode(data: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    """The bytes of one input as a tensor of ``shape``, which fits the input.

    No bytes are copied; they may lie at an address that their type does not like. Raises RequestError.
    """
    if spec.datatype == "BYTES":
        return _decode_texts(data, spec, shape)
    dtype = DTYPES[spec.datatype]
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise RequestError(
            f"input '{spec.name}': data has {len(data)} bytes, {spec.datatype} {dimensions(shape)} needs {needed}"
        )
    if spec.datatype == "BOOL" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise RequestError(f"input '{spec.name}': BOOL bytes must be 0 or 1")
    return np.frombuffer(data, dtype).reshape(shape)


def decode_body(body: bytes | memoryview, spec: TensorSpec) -> Tensor:
    """A body that is the model's only input and nothing else (``Inference-Header-Content-Length: 0``).

    Its size gives the one variable dimension; where the rows vary too, it is one row. A BYTES input is one element,
    without its length. Raises RequestError.
    """
    shape = [1 if size == -1 and spec.datatype == "BYTES" else size for size in spec.shape]
    if shape.count(-1) > 1 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise RequestError(
            f"input '{spec.name}': a raw body leaves shape {dimensions(spec.shape)} open; send a JSON header"
        )
    if spec.datatype == "BYTES":
        return decode(memoryview(_LENGTH.pack(len(body)) + bytes(body)), spec, tuple(shape))
    step = math.prod(size for size in shape if size != -1) * DTYPES[spec.datatype].itemsize
    solved = tuple(len(body) // max(step, 1) if size == -1 else size for size in shape)
    check_shape(spec, solved)
    return decode(memoryview(body), spec, solved)


def view(tensor: Tensor) -> bytes | memoryview:
    """The bytes of a tensor of any datatype but BYTES, without a copy where that is possible and pays."""
    if tensor.nbytes <= _COPIED or not tensor.flags.c_contiguous:
        return tensor.tobytes()
    return tensor.data.cast("B")


def encode(tensor: Tensor) -> bytes | memoryview:
    """The tensor's bytes as the extension lays them out."""
    if tensor.dtype.kind != "O":
        return view(tensor)
    encoded = [str(text).encode() for text in tensor.flat]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def _decode_texts(data: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    texts: list[str] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH.size
        if start > len(data):
            raise RequestError(f"input '{spec.name}': data ends within the length of element {len(texts)}")
        position = start + _LENGTH.unpack_from(data, start - _LENGTH.size)[0]
        if position > len(data):
            raise RequestError(f"input '{spec.name}': data ends within element {len(texts)}")
        try:
            texts.append(str(data[start:position], "utf-8"))
        except UnicodeDecodeError:
            raise RequestError(
                f"input '{spec.name}': element {len(texts)} is not UTF-8, as ONNX strings must be"
            ) from None
    if len(texts) != math.prod(shape):
        raise RequestError(
            f"input '{spec.name}': data has {len(texts)} elements, shape {dimensions(shape)} needs {math.prod(shape)}"
        )
    return np.array(texts, dtype=object).reshape(shape)
