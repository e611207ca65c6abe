import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract.artifact import TensorSpec
from modelyard_server import v1
from modelyard_server.errors import RequestError
from modelyard_server.tensors import Signature

ONE = Signature(
    model="one",
    version="0123456789ab",
    inputs=(TensorSpec(name="x", datatype="FP32", shape=[-1, 2]),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=[-1]),),
)
TWO = Signature(
    model="two",
    version="0123456789ab",
    inputs=(
        TensorSpec(name="x", datatype="INT64", shape=[-1]),
        TensorSpec(name="text", datatype="BYTES", shape=[-1]),
    ),
    outputs=(
        TensorSpec(name="y", datatype="INT64", shape=[-1]),
        TensorSpec(name="text_bytes", datatype="BYTES", shape=[-1]),
    ),
)
TEXT = Signature(model="text", version="0", inputs=TWO.inputs[1:], outputs=TWO.outputs[1:])


def inputs(document: object, signature: Signature) -> dict[str, object]:
    request = v1.decode(json.dumps(document).encode(), signature)
    return {name: tensor.tolist() for name, tensor in request.inputs.items()}


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        {"signature_name": "serving_default", "inputs": {"x": [[1, 2], [3, 4]]}},
    ],
)
def test_rows_and_columns_name_the_same_tensor(document: object) -> None:
    assert inputs(document, ONE) == {"x": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [{"x": 1, "text": {"b64": "w6k="}}, {"x": 2, "text": "b"}]},
        {"inputs": {"x": [1, 2], "text": [{"b64": "w6k="}, "b"]}},
    ],
)
def test_texts_may_be_base64(document: object) -> None:
    assert inputs(document, TWO) == {"x": [1, 2], "text": ["é", "b"]}


def test_a_base64_instance_is_a_value_not_names() -> None:
    assert inputs({"instances": [{"b64": "YQ=="}]}, TEXT) == {"text": ["a"]}


def test_nan_and_infinity_are_numbers() -> None:
    request = v1.decode(b'{"instances": [[NaN, -Infinity]]}', ONE)
    np.testing.assert_array_equal(request.inputs["x"], np.array([[np.nan, -np.inf]], np.float32))


@pytest.mark.parametrize(
    ("document", "signature", "error"),
    [
        ({}, ONE, "body needs either instances (rows) or inputs (columns)"),
        ({"instances": [], "inputs": []}, ONE, "body needs either instances (rows) or inputs (columns)"),
        ({"instances": 1}, ONE, "instances must be a list"),
        ({"instances": [[1, 2, 3]]}, ONE, "input 'x': shape [1,3] does not fit [-1,2]"),
        ({"instances": []}, ONE, "input 'x': shape [0] does not fit [-1,2]"),
        ({"instances": [[1, 2], [3]]}, ONE, "input 'x': data is ragged; lists side by side must be equally long"),
        ({"instances": [{"z": [1, 2]}]}, ONE, "input 'z' is unknown; the model has x"),
        ({"instances": [[1, 2], {"x": [1, 2]}]}, ONE, "instances must all name the same inputs"),
        ({"instances": [{"x": 1}]}, TWO, "input 'text' is missing"),
        ({"instances": [1]}, TWO, "body must name the inputs: x, text"),
        ({"inputs": {"text": [{"b64": "?"}]}}, TWO, "input 'text': b64 must be base64 of UTF-8 text"),
        ({"inputs": {"text": [{"b64": "/w=="}]}}, TWO, "input 'text': b64 must be base64 of UTF-8 text"),
        ({"inputs": [], "signature_name": "x"}, ONE, "signature_name 'x' is unknown; use serving_default"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_by_field(document: object, signature: Signature, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        inputs(document, signature)
    assert str(refused.value) == error


def test_one_output_goes_without_its_name() -> None:
    request = v1.decode(b'{"instances": [[1, 2]]}', ONE)
    assert v1.encode(request, ONE, [np.array([0.1], "<f4")]) == b'{"predictions":[0.1]}'


def test_rows_of_several_outputs_are_objects() -> None:
    request = v1.decode(b'{"instances": [{"x": 1, "text": "a"}]}', TWO)
    answer = v1.encode(request, TWO, [np.array([7]), np.array(["a"], object)])
    assert answer == b'{"predictions":[{"y":7,"text_bytes":{"b64":"YQ=="}}]}'


def test_columns_of_several_outputs_are_named() -> None:
    request = v1.decode(b'{"inputs": {"x": [1], "text": ["a"]}}', TWO)
    answer = v1.encode(request, TWO, [np.array([7]), np.array(["a"], object)])
    assert answer == b'{"outputs":{"y":[7],"text_bytes":[{"b64":"YQ=="}]}}'


def test_an_output_without_rows_needs_the_columnar_form() -> None:
    request = v1.decode(b'{"instances": [[1, 2]]}', ONE)
    with pytest.raises(RequestError, match="output 'y' has no row for each instance"):
        v1.encode(request, ONE, [np.array([1, 2], "<f4")])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({"b64": "YQ=="}),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["x", "text", "b64"]), values, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), JSON), st.sampled_from([ONE, TWO]))
def test_no_predict_document_breaks_the_decoder(document: object, signature: Signature) -> None:
    try:
        request = v1.decode(json.dumps(document).encode(), signature)
    except RequestError:
        return
    assert request.inputs.keys() == {spec.name for spec in signature.inputs}
