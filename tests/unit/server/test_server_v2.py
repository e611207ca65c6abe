import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract.artifact import TensorSpec
from modelyard_server import v2
from modelyard_server.errors import RequestError
from modelyard_server.tensors import Signature

SIGNATURE = Signature(
    model="digits",
    version="0123456789ab",
    inputs=(
        TensorSpec(name="image", datatype="FP32", shape=[-1, 2]),
        TensorSpec(name="mask", datatype="BOOL", shape=[-1]),
    ),
    outputs=(
        TensorSpec(name="score", datatype="FP32", shape=[-1]),
        TensorSpec(name="label", datatype="BYTES", shape=[-1]),
        TensorSpec(name="half", datatype="FP16", shape=[-1]),
    ),
)
IMAGE = {"name": "image", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
MASK = {"name": "mask", "shape": [1], "datatype": "BOOL", "data": [True]}


def binary(tensor: dict[str, Any], size: object) -> dict[str, Any]:
    return {key: value for key, value in tensor.items() if key != "data"} | {"parameters": {"binary_data_size": size}}


def decode(document: object, raw: bytes | None = None) -> v2.InferRequest:
    head = json.dumps(document).encode()
    return v2.Codec(SIGNATURE).decode(head + (raw or b""), None if raw is None else len(head))


def test_json_data_is_flat_or_nested() -> None:
    flat = decode({"inputs": [IMAGE | {"shape": [2, 2], "data": [1, 2, 3, 4]}, MASK]})
    nested = decode({"inputs": [IMAGE | {"shape": [2, 2], "data": [[1, 2], [3, 4]]}, MASK]})
    assert flat.inputs["image"].tolist() == nested.inputs["image"].tolist() == [[1, 2], [3, 4]]


def test_binary_data_follows_in_the_order_of_the_inputs() -> None:
    raw = b"\1" + np.array([3, 4], "<f4").tobytes()
    request = decode({"inputs": [binary(MASK, 1), binary(IMAGE, 8)]}, raw)
    assert {name: tensor.tolist() for name, tensor in request.inputs.items()} == {"mask": [True], "image": [[3, 4]]}


def test_binary_and_json_inputs_mix() -> None:
    request = decode({"inputs": [IMAGE, binary(MASK, 1)]}, b"\0")
    assert request.inputs["mask"].tolist() == [False]


def test_all_outputs_are_wanted_by_default() -> None:
    request = decode({"inputs": [IMAGE, MASK]})
    assert [(wanted.spec.name, wanted.binary) for wanted in request.outputs] == [
        ("score", False),
        ("label", False),
        ("half", False),
    ]


def test_an_output_overrides_binary_data_output() -> None:
    outputs = [{"name": "half"}, {"name": "score", "parameters": {"binary_data": False}}]
    request = decode({"parameters": {"binary_data_output": True}, "inputs": [IMAGE, MASK], "outputs": outputs})
    assert [(wanted.spec.name, wanted.binary) for wanted in request.outputs] == [("half", True), ("score", False)]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "inputs must be a list of tensors"),
        ({"inputs": [1]}, "inputs must hold objects only"),
        ({"id": 7, "inputs": []}, "id must be a string"),
        ({"inputs": [IMAGE]}, "input 'mask' is missing"),
        ({"inputs": [IMAGE, MASK, MASK]}, "input 'mask' is given twice"),
        ({"inputs": [IMAGE | {"name": "x"}]}, "input 'x' is unknown; the model has image, mask"),
        ({"inputs": [IMAGE | {"name": [1]}]}, "input a list is unknown; the model has image, mask"),
        ({"inputs": [IMAGE | {"datatype": "FP64"}]}, "input 'image': datatype 'FP64' does not fit FP32"),
        ({"inputs": [IMAGE | {"shape": [1, 3]}]}, "input 'image': shape [1,3] does not fit [-1,2]"),
        ({"inputs": [IMAGE | {"shape": [2]}]}, "input 'image': shape [2] does not fit [-1,2]"),
        ({"inputs": [IMAGE | {"shape": [-1, 2]}]}, "input 'image': shape must be a list of sizes, to fit [-1,2]"),
        ({"inputs": [IMAGE | {"shape": [True, 2]}]}, "input 'image': shape must be a list of sizes, to fit [-1,2]"),
        ({"inputs": [IMAGE | {"shape": [2**41, 2]}]}, "input 'image': shape [2199023255552,2] is too large"),
        ({"inputs": [IMAGE | {"shape": [2] * 99}]}, "input 'image': shape of 99 dimensions does not fit [-1,2]"),
        ({"inputs": [IMAGE | {"data": [1]}, MASK]}, "input 'image': data has 1 elements, shape [1,2] needs 2"),
        ({"inputs": [IMAGE | {"data": [[1], [2]]}, MASK]}, "input 'image': data is nested as [2,1], shape says [1,2]"),
        ({"inputs": [IMAGE | {"parameters": 1}]}, "input 'image': parameters must be an object"),
        ({"inputs": [binary(IMAGE, None)]}, "input 'image': data is missing; give it, or binary_data_size"),
        ({"inputs": [binary(IMAGE, -1)]}, "input 'image': binary_data_size must be a number of bytes"),
        (
            {"inputs": [binary(IMAGE, 8)]},
            "input 'image': binary_data_size needs the header Inference-Header-Content-Length",
        ),
        (
            {"inputs": [binary(IMAGE, 8) | {"data": [1, 2]}]},
            "input 'image': data and binary_data_size exclude each other",
        ),
        (
            {"inputs": [IMAGE, MASK], "outputs": [{"name": "y"}]},
            "output 'y' is unknown; the model has score, label, half",
        ),
        (
            {"inputs": [IMAGE, MASK], "outputs": [{"name": "score"}, {"name": "score"}]},
            "output 'score' is asked for twice",
        ),
        (
            {"inputs": [IMAGE, MASK], "parameters": {"binary_data_output": 1}},
            "parameter binary_data_output must be true or false",
        ),
    ],
)
def test_a_bad_request_is_refused_by_field(document: object, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode(document)
    assert str(refused.value) == error


@pytest.mark.parametrize(
    ("inputs", "raw", "error"),
    [
        ([binary(IMAGE, 8)], b"1234", "input 'image': binary_data_size is 8, the body has 4 bytes left"),
        ([binary(IMAGE, 4), MASK], b"1234", "input 'image': data has 4 bytes, FP32 [1,2] needs 8"),
        ([IMAGE, MASK], b"1", "body: 1 bytes follow the last tensor; give each its binary_data_size"),
    ],
)
def test_binary_data_of_another_size_is_refused(inputs: list[object], raw: bytes, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode({"inputs": inputs}, raw)
    assert str(refused.value) == error


def test_a_raw_body_needs_a_model_with_one_input() -> None:
    with pytest.raises(RequestError, match="0 needs a model with one input, not 2"):
        v2.Codec(SIGNATURE).decode(b"", 0)


def test_the_json_part_is_within_the_body() -> None:
    with pytest.raises(RequestError, match="9 bytes, the body has only 2"):
        v2.Codec(SIGNATURE).decode(b"{}", 9)


@pytest.mark.parametrize("value", [b"-1", b"1.0", b"abc", b"", b"1" * 5000])
def test_the_size_of_the_json_part_is_a_number(value: bytes) -> None:
    with pytest.raises(RequestError, match="is not a number of bytes"):
        v2.json_size(value)


def test_an_answer_holds_json_then_the_binary_outputs() -> None:
    outputs = [
        {"name": "half", "parameters": {"binary_data": True}},
        {"name": "score"},
        {"name": "label", "parameters": {"binary_data": True}},
    ]
    request = decode({"id": "7", "inputs": [IMAGE, MASK], "outputs": outputs})
    half, score, label = np.array([0.5], "<f2"), np.array([np.nan], "<f4"), np.array(["é"], object)
    answer = v2.Codec(SIGNATURE).encode(request, [half, score, label])
    assert b"".join(answer.parts[1:]) == half.tobytes() + b"\2\0\0\0" + "é".encode()
    assert answer.json_size == len(answer.parts[0])
    assert answer.parts[0] == (
        b'{"model_name":"digits","model_version":"0123456789ab","id":"7","outputs":['
        b'{"name":"half","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}},'
        b'{"name":"score","datatype":"FP32","shape":[1],"data":[NaN]},'
        b'{"name":"label","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}'
    )


def test_half_floats_are_never_json() -> None:
    request = decode({"inputs": [IMAGE, MASK], "outputs": [{"name": "half"}]})
    with pytest.raises(RequestError, match="output 'half': FP16 has no JSON form"):
        v2.Codec(SIGNATURE).encode(request, [np.array([0.5], "<f2")])


def test_a_head_that_comes_again_means_the_same_for_other_data() -> None:
    codec = v2.Codec(SIGNATURE)
    head = json.dumps({"inputs": [binary(IMAGE, 8), binary(MASK, 1)]}).encode()
    for numbers in ([1, 2], [3, 4]):
        request = codec.decode(head + np.array(numbers, "<f4").tobytes() + b"\1", len(head))
        assert request.inputs["image"].tolist() == [numbers]
    for surplus in (b"12345678", b"1234567890"):
        with pytest.raises(RequestError, match="binary_data_size"):
            codec.decode(head + surplus, len(head))


def test_an_answer_whose_head_was_made_before_holds_its_own_data() -> None:
    codec = v2.Codec(SIGNATURE)
    request = decode({"inputs": [IMAGE, MASK], "outputs": [{"name": "score", "parameters": {"binary_data": True}}]})
    answers = [codec.encode(request, [np.array(numbers, "<f4")]) for numbers in ([1], [2], [3, 4])]
    assert [np.frombuffer(answer.parts[1], "<f4").tolist() for answer in answers] == [[1], [2], [3, 4]]
    assert [json.loads(bytes(answer.parts[0]))["outputs"][0]["shape"] for answer in answers] == [[1], [1], [2]]


def test_large_outputs_are_not_copied() -> None:
    request = decode({"inputs": [IMAGE, MASK], "outputs": [{"name": "score", "parameters": {"binary_data": True}}]})
    score = np.zeros(10_000, "<f4")
    data = v2.Codec(SIGNATURE).encode(request, [score]).parts[1]
    score[0] = 1
    assert np.frombuffer(data, "<f4")[0] == 1


def test_a_client_says_how_long_it_waits_in_microseconds() -> None:
    assert decode({"inputs": [IMAGE, MASK], "parameters": {"timeout": 1500}}).seconds == 0.0015
    with pytest.raises(RequestError, match="parameter timeout must be a whole number of microseconds"):
        decode({"inputs": [IMAGE, MASK], "parameters": {"timeout": "1s"}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image", "mask"]) | JSON,
        "datatype": st.sampled_from(["FP32", "BOOL"]) | JSON,
        "shape": st.sampled_from([[1, 2], [0, 2], [1]]) | st.lists(st.integers(), max_size=3) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers() | JSON}) | JSON,
        "data": st.lists(st.floats() | st.booleans(), max_size=3) | JSON,
    },
)


@given(st.fixed_dictionaries({}, optional={"inputs": st.lists(TENSOR) | JSON, "outputs": JSON}), st.binary(max_size=9))
def test_no_document_breaks_the_decoder(document: object, raw: bytes) -> None:
    try:
        request = decode(document, raw)
    except RequestError:
        return
    assert request.inputs.keys() == {"image", "mask"}


@given(st.binary(max_size=40), st.none() | st.integers(0, 40))
def test_no_bytes_break_the_decoder(body: bytes, json_size: int | None) -> None:
    with pytest.raises(RequestError):
        v2.Codec(SIGNATURE).decode(body, json_size)
