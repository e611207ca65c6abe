from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from modelyard.contract.artifact import Datatype, TensorSpec
from modelyard_server import json_text, tensor_json
from modelyard_server.errors import RequestError
from modelyard_server.tensors import DTYPES, Tensor

SHAPES = np_st.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


def spec(datatype: Datatype) -> TensorSpec:
    return TensorSpec(name="x", datatype=datatype, shape=[-1])


def test_every_datatype_of_the_contract_has_a_numpy_type() -> None:
    assert list(DTYPES) == list(get_args(Datatype))


@pytest.mark.parametrize("datatype", sorted(DTYPES.keys() - {"FP16", "BF16", "BYTES"}))
@settings(max_examples=30)
@given(data=st.data())
def test_numbers_survive_the_round_trip(datatype: Datatype, data: st.DataObject) -> None:
    tensor = data.draw(np_st.arrays(DTYPES[datatype], SHAPES))
    body = b'{"data":%s}' % tensor_json.encode(tensor, spec(datatype))
    decoded = tensor_json.decode(json_text.parse_object(body)["data"], spec(datatype))
    np.testing.assert_array_equal(decoded.reshape(tensor.shape), tensor, strict=True)


@given(np_st.arrays(object, SHAPES, elements=st.text()))
def test_texts_survive_the_round_trip(tensor: Tensor) -> None:
    body = b'{"data":%s}' % tensor_json.encode(tensor, spec("BYTES"))
    decoded = tensor_json.decode(json_text.parse_object(body)["data"], spec("BYTES"))
    assert decoded.reshape(tensor.shape).tolist() == tensor.tolist()


def test_integers_are_exact_up_to_the_last_one() -> None:
    assert tensor_json.decode([1, 2**64 - 1], spec("UINT64")).tolist() == [1, 2**64 - 1]


def test_a_scalar_is_a_value() -> None:
    assert tensor_json.encode(np.array(0.5, np.float32), spec("FP32")) == b"0.5"


@pytest.mark.parametrize(
    ("datatype", "data", "error"),
    [
        ("INT32", [1.5], "input 'x': data holds values that are not INT32"),
        ("INT32", [True], "input 'x': data holds values that are not INT32"),
        ("FP32", ["1.0"], "input 'x': data holds values that are not FP32"),
        ("FP32", [None], "input 'x': data holds values that are not FP32"),
        ("BOOL", [0, 1], "input 'x': data holds values that are not BOOL"),
        ("BYTES", [1], "input 'x': data holds values that are not BYTES"),
        ("BYTES", ["\ud800"], "input 'x': data holds a string that is not valid Unicode"),
        ("INT8", [128], "input 'x': data holds values out of the range of INT8"),
        ("UINT8", [-1], "input 'x': data holds values out of the range of UINT8"),
        ("FP32", [1e39], "input 'x': data holds values out of the range of FP32"),
        ("FP64", [10**400], "input 'x': data holds values out of the range of FP64"),
        ("FP32", [[1.0], [2.0, 3.0]], "input 'x': data is ragged; lists side by side must be equally long"),
        ("BYTES", [["a"], ["b", "c"]], "input 'x': data is ragged; lists side by side must be equally long"),
        ("FP16", [1.0], "input 'x': FP16 has no JSON form; use the binary data of protocol v2"),
        ("BF16", [1.0], "input 'x': BF16 has no JSON form; use the binary data of protocol v2"),
    ],
)
def test_data_that_is_not_of_the_datatype_is_refused(datatype: Datatype, data: object, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        tensor_json.decode(data, spec(datatype))
    assert str(refused.value) == error


def test_nesting_has_a_limit() -> None:
    data: object = 1.0
    for _ in range(900):
        data = [data]
    with pytest.raises(RequestError, match="deeper than 64 lists"):
        tensor_json.decode(data, spec("FP32"))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"a":1e999999'])
def test_text_that_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(RequestError, match=r"^body "):
        json_text.parse_object(text)


def test_the_tokens_of_javascript_are_read() -> None:
    assert json_text.parse_object(b'{"a": [Infinity, -Infinity]}') == {"a": [float("inf"), float("-inf")]}
