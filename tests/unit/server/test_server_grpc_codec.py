from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract.artifact import TensorSpec
from modelyard_server import grpc_codec
from modelyard_server.errors import RequestError
from modelyard_server.open_inference_pb2 import ModelInferRequest
from modelyard_server.tensors import Signature


def signature(*inputs: TensorSpec) -> Signature:
    outputs = (TensorSpec(name="y", datatype="FP32", shape=[-1]), TensorSpec(name="t", datatype="BYTES", shape=[-1]))
    return Signature("digits", "0123456789ab", inputs, outputs)


X = TensorSpec(name="x", datatype="FP32", shape=[-1, 2])
SMALL = TensorSpec(name="x", datatype="INT8", shape=[-1])
TEXT = TensorSpec(name="x", datatype="BYTES", shape=[-1])
HALF = TensorSpec(name="x", datatype="FP16", shape=[-1])


def tensor(datatype: str = "FP32", *shape: int, **contents: Any) -> Any:
    found = {"name": "x", "datatype": datatype, "shape": shape}
    return found | ({"contents": contents} if contents else {})


def message(*inputs: Any, raw: list[bytes] | None = None, outputs: tuple[str, ...] = ()) -> ModelInferRequest:
    found: Any = {"inputs": inputs, "raw_input_contents": raw or [], "outputs": [{"name": name} for name in outputs]}
    return ModelInferRequest(model_name="digits", id="7", **found)


@pytest.mark.parametrize(
    ("spec", "request_message", "values"),
    [
        (X, message(tensor("FP32", 1, 2, fp32_contents=[1, 2])), [[1, 2]]),
        (X, message(tensor("FP32", 1, 2), raw=[np.array([1, 2], "<f4").tobytes()]), [[1, 2]]),
        (X, message(tensor("FP32", 0, 2)), []),
        (SMALL, message(tensor("INT8", 2, int_contents=[-128, 127])), [-128, 127]),
        (TEXT, message(tensor("BYTES", 2, bytes_contents=["é".encode(), b""])), ["é", ""]),
        (TEXT, message(tensor("BYTES", 1), raw=[b"\2\0\0\0\xc3\xa9"]), ["é"]),
        (HALF, message(tensor("FP16", 1), raw=[b"\0\x38"]), [0.5]),
    ],
)
def test_tensors_come_raw_or_as_contents(spec: TensorSpec, request_message: ModelInferRequest, values: object) -> None:
    assert grpc_codec.decode(request_message, signature(spec)).inputs["x"].tolist() == values


@pytest.mark.parametrize(
    ("spec", "request_message", "error"),
    [
        (X, message(), "input 'x' is missing"),
        (X, message(*[tensor("FP32", 1, 2, fp32_contents=[1, 2])] * 2), "input 'x' is given twice"),
        (X, message(tensor("FP64", 1, 2)), "input 'x': datatype 'FP64' does not fit FP32"),
        (X, message(tensor("FP32", 1, -2)), "input 'x': shape must be sizes, to fit [-1,2]"),
        (X, message(tensor("FP32", 2)), "input 'x': shape [2] does not fit [-1,2]"),
        (X, message(tensor("FP32", 2**41, 2)), "input 'x': shape [2199023255552,2] is too large"),
        (
            X,
            message(tensor("FP32", 1, 2, fp32_contents=[1])),
            "input 'x': fp32_contents has 1 elements, shape [1,2] needs 2",
        ),
        (
            X,
            message(tensor("FP32", 1, 2, fp64_contents=[1, 2])),
            "input 'x': fp32_contents has 0 elements, shape [1,2] needs 2",
        ),
        (X, message(tensor("FP32", 1, 2), raw=[b"123"]), "input 'x': data has 3 bytes, FP32 [1,2] needs 8"),
        (X, message(tensor("FP32", 1, 2), raw=[b"", b""]), "raw_input_contents has 2 tensors, inputs has 1"),
        (
            X,
            message(tensor("FP32", 1, 2, fp32_contents=[1, 2]), raw=[bytes(8)]),
            "input 'x': contents and raw_input_contents exclude each other",
        ),
        (
            SMALL,
            message(tensor("INT8", 1, int_contents=[128])),
            "input 'x': int_contents holds values out of the range of INT8",
        ),
        (
            TEXT,
            message(tensor("BYTES", 1, bytes_contents=[b"\xff"])),
            "input 'x': element 0 is not UTF-8, as ONNX strings must be",
        ),
        (
            HALF,
            message(tensor("FP16", 1, fp32_contents=[1])),
            "input 'x': FP16 has no typed contents; use raw_input_contents",
        ),
        (
            X,
            message(tensor("FP32", 1, 2, fp32_contents=[1, 2]), outputs=("z",)),
            "output 'z' is unknown; the model has y, t",
        ),
        (
            X,
            message(tensor("FP32", 1, 2, fp32_contents=[1, 2]), outputs=("y", "y")),
            "outputs: each may be asked for once",
        ),
    ],
)
def test_a_bad_message_is_refused_by_field(spec: TensorSpec, request_message: ModelInferRequest, error: str) -> None:
    with pytest.raises(RequestError) as refused:
        grpc_codec.decode(request_message, signature(spec))
    assert str(refused.value) == error


def test_an_answer_is_raw() -> None:
    wanted = grpc_codec.decode(message(tensor("FP32", 1, 2, fp32_contents=[1, 2])), signature(X))
    answer = grpc_codec.encode(wanted, signature(X), [np.array([1], "<f4"), np.array(["é"], object)])
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "0123456789ab", "7")
    assert [(output.name, output.datatype, list(output.shape)) for output in answer.outputs] == [
        ("y", "FP32", [1]),
        ("t", "BYTES", [1]),
    ]
    assert list(answer.raw_output_contents) == [np.array([1], "<f4").tobytes(), b"\2\0\0\0\xc3\xa9"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3), st.lists(st.binary(max_size=9), max_size=2))
def test_no_shape_breaks_the_decoder(shape: list[int], raw: list[bytes]) -> None:
    with pytest.raises(RequestError):
        grpc_codec.decode(message(tensor("FP32", *shape), raw=raw or [b"1"]), signature(X))
