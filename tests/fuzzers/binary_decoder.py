"""Fuzzes what reads binary tensors, led by coverage; for an interpreter that has atheris, numpy, orjson and pydantic.

``PYTHONPATH=operator:images/server python binary_decoder.py CORPUS -runs=N``, the arguments of libFuzzer. A seed that
reaches far is written to the empty folder CORPUS first. Bytes are refused, or read as a tensor of exactly these bytes.
"""

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelyard_server"]):
    from modelyard.contract.artifact import TensorSpec
    from modelyard_server import v2, v2_binary
    from modelyard_server.errors import RequestError
    from modelyard_server.tensors import DTYPES, Signature

DATATYPES = sorted(DTYPES)
SIGNATURE = Signature(
    "fuzz",
    "0",
    (
        TensorSpec(name="x", datatype="FP32", shape=[-1, 2]),
        TensorSpec(name="t", datatype="BYTES", shape=[-1]),
        TensorSpec(name="b", datatype="BOOL", shape=[-1]),
    ),
    (TensorSpec(name="y", datatype="FP32", shape=[-1]),),
)
CODEC = v2.Codec(SIGNATURE)


def one(data):
    source = atheris.FuzzedDataProvider(data)
    match source.ConsumeIntInRange(0, 2):
        case 0:
            tensor(source)
        case 1:
            body(source)
        case _:
            request(source)


def tensor(source):
    """One tensor of a shape that is known."""
    datatype = DATATYPES[source.ConsumeIntInRange(0, len(DATATYPES) - 1)]
    shape = tuple(source.ConsumeIntInRange(0, 5) for _ in range(source.ConsumeIntInRange(0, 3)))
    spec = TensorSpec(name="x", datatype=datatype, shape=list(shape))
    given = source.ConsumeBytes(source.remaining_bytes())
    try:
        found = v2_binary.decode(memoryview(given), spec, shape)
    except RequestError:
        return
    assert (found.shape, found.dtype) == (shape, DTYPES[datatype])
    assert bytes(v2_binary.encode(found)) == given


def body(source):
    """A body that is one raw tensor."""
    datatype = DATATYPES[source.ConsumeIntInRange(0, len(DATATYPES) - 1)]
    shape = [source.ConsumeIntInRange(-1, 5) for _ in range(source.ConsumeIntInRange(1, 3))]
    spec = TensorSpec(name="x", datatype=datatype, shape=shape)
    given = source.ConsumeBytes(source.remaining_bytes())
    try:
        found = v2_binary.decode_body(given, spec)
    except RequestError:
        return
    assert all(wanted in (-1, size) for wanted, size in zip(shape, found.shape, strict=True))
    prefix = len(given).to_bytes(4, "little") if datatype == "BYTES" else b""
    assert bytes(v2_binary.encode(found)) == prefix + given


def request(source):
    """A whole request: JSON and the tensors behind it."""
    size = source.ConsumeIntInRange(0, 400)
    given = source.ConsumeBytes(source.remaining_bytes())
    try:
        found = CODEC.decode(given, size)
    except RequestError:
        return
    assert set(found.inputs) == {"x", "t", "b"}
    raw = b"".join(bytes(v2_binary.encode(found.inputs[name])) for name in ("x", "t", "b"))
    binary = given[size:]
    assert len(raw) >= len(binary)
    assert len(raw) > len(binary) or sorted(raw) == sorted(binary)  # more: some were in the JSON


def seed():
    """Bytes that ``one`` reads as a good request."""
    raw = {"x": bytes(8), "t": b"\3\0\0\0abc", "b": b"\1"}
    inputs = [
        {"name": spec.name, "datatype": spec.datatype, "shape": [1, *spec.shape[1:]]}
        | {"parameters": {"binary_data_size": len(raw[spec.name])}}
        for spec in SIGNATURE.inputs
    ]
    head = json.dumps({"inputs": inputs}).encode()
    CODEC.decode(head + b"".join(raw.values()), len(head))
    # libFuzzer's provider takes numbers from the end of the data, and bytes from its beginning.
    return head + b"".join(raw.values()) + len(head).to_bytes(2, "little") + b"\2"


if __name__ == "__main__":
    corpus = Path(sys.argv[1])
    (corpus / "request").write_bytes(seed())
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
