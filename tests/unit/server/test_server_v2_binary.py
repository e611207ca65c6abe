import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from modelyard.contract.artifact import Datatype, TensorSpec
from modelyard_server import v2_binary
from modelyard_server.errors import RequestError
from modelyard_server.tensors import DTYPES, Tensor

SHAPES = np_st.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[TensorSpec, Tensor]:
    datatype: Datatype = draw(st.sampled_from(sorted(DTYPES)))
    elements = st.text() if datatype == "BYTES" else None
    tensor = draw(np_st.arrays(DTYPES[datatype], SHAPES, elements=elements))
    return TensorSpec(name="x", datatype=datatype, shape=list(tensor.shape)), tensor


@given(tensors())
def test_tensors_survive_the_round_trip(case: tuple[TensorSpec, Tensor]) -> None:
    spec, tensor = case
    decoded = v2_binary.decode(memoryview(v2_binary.encode(tensor)), spec, tensor.shape)
    np.testing.assert_array_equal(decoded, tensor, strict=True)


@given(tensors(), st.integers(-8, 8).filter(bool))
def test_data_of_another_size_is_refused(case: tuple[TensorSpec, Tensor], change: int) -> None:
    spec, tensor = case
    data = bytes(v2_binary.encode(tensor))
    wrong = data + bytes(change) if change > 0 else data[:change]
    assume(wrong != data)
    with pytest.raises(RequestError, match=r"^input 'x': data "):
        v2_binary.decode(memoryview(wrong), spec, tensor.shape)


@given(st.binary(max_size=64))
def test_random_bytes_are_texts_or_refused(data: bytes) -> None:
    spec = TensorSpec(name="x", datatype="BYTES", shape=[2])
    try:
        tensor = v2_binary.decode(memoryview(data), spec, (2,))
    except RequestError:
        return
    assert v2_binary.encode(tensor) == data


def test_no_bytes_are_copied_where_they_are_aligned() -> None:
    data = np.arange(4, dtype=np.float32)
    spec = TensorSpec(name="x", datatype="FP32", shape=[-1])
    assert np.shares_memory(v2_binary.decode(data.data.cast("B"), spec, (4,)), data)


def test_bool_bytes_are_zero_or_one() -> None:
    spec = TensorSpec(name="x", datatype="BOOL", shape=[2])
    with pytest.raises(RequestError, match="BOOL bytes must be 0 or 1"):
        v2_binary.decode(memoryview(b"\1\2"), spec, (2,))


def test_texts_are_utf8() -> None:
    spec = TensorSpec(name="x", datatype="BYTES", shape=[1])
    with pytest.raises(RequestError, match="element 0 is not UTF-8"):
        v2_binary.decode(memoryview(struct.pack("<I", 1) + b"\xff"), spec, (1,))


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "found"),
    [
        ("FP32", [-1, 2], 24, (3, 2)),
        ("FP32", [-1, -1], 12, (1, 3)),
        ("FP32", [2, 2], 16, (2, 2)),
        ("BYTES", [-1], 5, (1,)),
        ("BYTES", [-1, 1], 0, (1, 1)),
    ],
)
def test_a_raw_body_gives_the_open_dimension(
    datatype: Datatype, shape: list[int], size: int, found: tuple[int, ...]
) -> None:
    spec = TensorSpec(name="x", datatype=datatype, shape=shape)
    assert v2_binary.decode_body(bytes(size), spec).shape == found


@pytest.mark.parametrize(
    ("shape", "size", "error"),
    [
        ([-1, 2], 12, r"input 'x': data has 12 bytes, FP32 \[1,2\] needs 8"),
        ([2, -1, -1], 8, r"input 'x': a raw body leaves shape \[2,-1,-1\] open; send a JSON header"),
        ([-1, 0], 4, r"input 'x': data has 4 bytes, FP32 \[4,0\] needs 0"),
    ],
)
def test_a_raw_body_that_leaves_the_shape_open_is_refused(shape: list[int], size: int, error: str) -> None:
    with pytest.raises(RequestError, match=f"^{error}$"):
        v2_binary.decode_body(bytes(size), TensorSpec(name="x", datatype="FP32", shape=shape))
