"""Damaged requests to the decoders of every transport: each is refused or read, and none leaves memory behind.

``FUZZED_REQUESTS`` says how many, and ``ATHERIS_PYTHON`` which interpreter has atheris.
"""

import gc
import json
import os
import random
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from modelyard.contract.artifact import TensorSpec
from modelyard_server import grpc_codec, v1, v2
from modelyard_server.errors import RequestError
from modelyard_server.open_inference_pb2 import ModelInferRequest
from modelyard_server.tensors import Signature

COUNT = int(os.environ.get("FUZZED_REQUESTS", "3000"))
LED = max(COUNT, 30_000)
"""Runs that coverage leads, which take less time each."""
ROOT = Path(__file__).parents[2]
KEPT_BYTES = 2 * 1024 * 1024
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
X, TEXT, FLAG = np.array([1, 2], "<f4").tobytes(), b"\3\0\0\0abc", b"\1"


def entry(name: str, datatype: str, shape: list[int], **fields: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, **fields}


def seeds() -> tuple[tuple[bytes, int], bytes, bytes]:
    """A good request in each form: binary with the size of its head, TensorFlow's JSON, and gRPC."""
    sizes = [{"binary_data_size": len(data)} for data in (X, TEXT, FLAG)]
    head = json.dumps(
        {
            "id": "7",
            "inputs": [
                entry("x", "FP32", [1, 2], parameters=sizes[0]),
                entry("t", "BYTES", [1], parameters=sizes[1]),
                entry("b", "BOOL", [1], parameters=sizes[2]),
            ],
        }
    ).encode()
    rows = json.dumps({"instances": [{"x": [1, 2], "t": "abc", "b": True}]}).encode()
    message = ModelInferRequest(model_name="fuzz", raw_input_contents=[X, TEXT, FLAG])
    for name, datatype, shape in (("x", "FP32", [1, 2]), ("t", "BYTES", [1]), ("b", "BOOL", [1])):
        message.inputs.add(name=name, datatype=datatype, shape=shape)
    return (head + X + TEXT + FLAG, len(head)), rows, message.SerializeToString()


def damaged(data: bytes, source: random.Random) -> bytes:
    """``data`` with bytes changed, cut out, put in or doubled."""
    found = bytearray(data)
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(found) + 1)
        match source.randrange(4):
            case 0:
                found[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del found[at : at + source.randrange(1, 9)]
            case 2:
                found[at:at] = source.choice([b"-", b"9" * 20, b"[" * 70, b"\xff\xff\xff\xff", b"null", b"1e999"])
            case _:
                found[at:at] = found[at : at + source.randrange(1, 40)]
    return bytes(found)


def outcome(decode: Callable[[], object]) -> str:
    """What became of a request; anything but a refusal or a result is an error of the test."""
    try:
        decode()
    except (RequestError, DecodeError):
        return "refused"
    return "read"


def test_damaged_requests_are_refused_or_read_and_leave_nothing_behind() -> None:
    source = random.Random(0)
    codec = v2.Codec(SIGNATURE)
    (binary, size), rows, message = seeds()
    assert [
        outcome(lambda: codec.decode(binary, size)),
        outcome(lambda: v1.decode(rows, SIGNATURE)),
        outcome(lambda: grpc_codec.decode(ModelInferRequest.FromString(message), SIGNATURE)),
    ] == ["read"] * 3

    def one(number: int) -> str:
        match number % 4:
            case 0:
                body = damaged(binary, source)
                return outcome(lambda: codec.decode(body, size))
            case 1:
                header = size + source.randrange(-9, 9)
                return outcome(lambda: codec.decode(binary, header))
            case 2:
                body = damaged(rows, source)
                return outcome(lambda: v1.decode(body, SIGNATURE))
            case _:
                body = damaged(message, source)
                return outcome(lambda: grpc_codec.decode(ModelInferRequest.FromString(body), SIGNATURE))

    outcomes = {one(number) for number in range(COUNT // 2)}
    gc.collect()
    tracemalloc.start()
    outcomes |= {one(number) for number in range(COUNT // 2)}
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcomes == {"refused", "read"}
    assert kept < KEPT_BYTES


def test_bytes_that_coverage_leads_to_are_refused_or_read_as_they_are(tmp_path: Path) -> None:
    python = os.environ.get("ATHERIS_PYTHON")
    if python is None:
        pytest.skip("ATHERIS_PYTHON names no interpreter with atheris, numpy, orjson and pydantic")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    fuzzer = ROOT / "tests" / "fuzzers" / "binary_decoder.py"
    done = subprocess.run(
        [python, fuzzer, corpus, f"-runs={LED}", "-seed=1"],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'images' / 'server'}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Done {LED} runs" in done.stderr
    assert len(list(corpus.iterdir())) > 10  # each reached something new
