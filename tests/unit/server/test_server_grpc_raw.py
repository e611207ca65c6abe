"""Raw tensors that are taken out of a message are those that protobuf's own reader finds."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from modelyard_server.grpc_raw import split
from modelyard_server.open_inference_pb2 import ModelInferRequest

Read = tuple[ModelInferRequest, list[bytes]]


def whole(message: bytes) -> Read | None:
    """Its raw tensors beside the rest, as protobuf reads it; None where it does not."""
    with contextlib.suppress(DecodeError):
        request = ModelInferRequest.FromString(message)
        raw = list(request.raw_input_contents)
        request.ClearField("raw_input_contents")
        return request, raw
    return None


def parted(message: bytes) -> Read | None:
    """The same by ``split``."""
    kept, places = split(memoryview(message))
    if (found := whole(kept)) is None:
        return None
    request, raw = found
    assert not (raw and places)
    return request, raw or [message[begin:end] for begin, end in places]


def message(raw: list[bytes], name: str = "m") -> bytes:
    request = ModelInferRequest(model_name=name, id="1", raw_input_contents=raw)
    for number in range(len(raw)):
        request.inputs.add(name=f"input-{number}", datatype="UINT8", shape=[len(raw[number])])
    request.parameters["timeout"].int64_param = -1
    return request.SerializeToString()


@given(st.lists(st.binary(max_size=300), max_size=5), st.text(max_size=300))
def test_raw_tensors_are_found(raw: list[bytes], name: str) -> None:
    data = message(raw, name)
    assert parted(data) == whole(data)
    assert len(split(data)[1]) == len(raw)


@given(st.data())
def test_a_damaged_message_is_read_as_protobuf_reads_it(source: st.DataObject) -> None:
    data = bytearray(message([b"tensor", b""]))
    for _ in range(source.draw(st.integers(1, 4))):
        data[source.draw(st.integers(0, len(data) - 1))] = source.draw(st.integers(0, 255))
    damaged = bytes(data[: source.draw(st.integers(0, len(data)))])
    assert parted(damaged) == whole(damaged)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_protobuf_reads_them(data: bytes) -> None:
    assert parted(data) == whole(data)


RAW = b"\x3a\x03raw"


@pytest.mark.parametrize(
    "strange",
    [
        RAW + b"\x3b\x3c",  # a group
        RAW + b"\x3a\x04raw",  # longer than what is left
        RAW + b"\x3a\xff\xff\xff\xff\xff\x01",  # a length of more than 32 bits
        RAW + b"\x39" + bytes(7),  # 8 bytes of which one is missing
        RAW + b"\x80",  # half a tag
        RAW * 1001,
    ],
)
def test_a_strange_message_is_left_to_protobuf(strange: bytes) -> None:
    assert split(strange) == (strange, [])


@pytest.mark.parametrize("odd", [b"\x38\x05", b"\x39" + bytes(8), b"\x3d" + bytes(4), b"\xba\x00\x03raw", b"\x3a\x00"])
def test_fields_of_another_form_are_passed_over(odd: bytes) -> None:
    data = RAW + odd + RAW
    assert len(split(data)[1]) >= 2
    assert parted(data) == whole(data)
