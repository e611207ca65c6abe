"""Open Inference Protocol v2 over HTTP as a table: requests that only HTTP can carry, and their answers.

Sources: kserve/open-inference-protocol specification/protocol/inference_rest.md, and for binary data
triton-inference-server/server docs/protocol/extension_binary_data.md.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

DTYPES = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "INT32": "<i4"}
ONES, RAMP = [1] * 16, list(range(16))
SUM, DIFFERENCE = [value + 1 for value in RAMP], [value - 1 for value in RAMP]
INPUT0 = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "data": RAMP}
INPUT1 = {"name": "INPUT1", "datatype": "INT32", "shape": [1, 16], "data": ONES}
X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, 1, 2, 4]}
FLAG = {"name": "flag", "datatype": "BOOL", "shape": [2], "data": [True, False]}
TEXT = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["é", ""]}
HALF = {"name": "half", "datatype": "FP16", "shape": [1], "data": [0.5]}


JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Body:
    """A request body and the headers that belong to it."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """One output tensor as an answer carries it."""

    datatype: str
    shape: list[int]
    data: Sequence[object]
    binary: bool = False


def as_json(*inputs: Mapping[str, Any], **fields: object) -> Body:
    return Body(json.dumps({**fields, "inputs": inputs}).encode(), JSON)


def as_binary(*inputs: Mapping[str, Any], **fields: object) -> Body:
    raw = [raw_bytes(tensor) for tensor in inputs]
    heads = [
        {key: value for key, value in tensor.items() if key != "data"} | {"parameters": {"binary_data_size": len(data)}}
        for tensor, data in zip(inputs, raw, strict=True)
    ]
    head = json.dumps({**fields, "inputs": heads}).encode()
    return Body(head + b"".join(raw), BINARY | {"Inference-Header-Content-Length": str(len(head))})


def raw_bytes(tensor: Mapping[str, Any]) -> bytes:
    if tensor["datatype"] != "BYTES":
        return np.array(tensor["data"], DTYPES[tensor["datatype"]]).tobytes()
    return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in tensor["data"])


def outputs(answer: httpx.Response) -> dict[str, Output]:
    """The outputs of an answer, from JSON or from the binary data that follows it."""
    size = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
    raw = answer.content[size:]
    found = {}
    for output in json.loads(answer.content[:size])["outputs"]:
        length = (output.get("parameters") or {}).get("binary_data_size")
        data = output["data"] if length is None else from_raw(raw[:length], output["datatype"])
        raw = raw[length or 0 :]
        found[output["name"]] = Output(output["datatype"], output["shape"], data, length is not None)
    assert raw == b""
    return found


def from_raw(data: bytes, datatype: str) -> list[object]:
    if datatype != "BYTES":
        numbers: list[object] = np.frombuffer(data, DTYPES[datatype]).tolist()
        return numbers
    texts: list[object] = []
    while data:
        size = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:size].decode())
        data = data[size:]
    return texts


def without(tensor: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in tensor.items() if key != name}


def binary_output(name: str, *, binary: bool = True) -> dict[str, object]:
    return {"name": name, "parameters": {"binary_data": binary}}


OUTPUT0, OUTPUT1 = Output("INT32", [1, 16], SUM), Output("INT32", [1, 16], DIFFERENCE)
RAW0 = Output("INT32", [1, 16], SUM, binary=True)
BOTH = {"OUTPUT0": OUTPUT0, "OUTPUT1": OUTPUT1}
SIMPLE = as_json(INPUT0, INPUT1).content
RAW_SIMPLE = as_binary(INPUT0, INPUT1)
METADATA = {
    "name": "simple",
    "inputs": [{"name": name, "datatype": "INT32", "shape": [-1, 16]} for name in ("INPUT0", "INPUT1")],
    "outputs": [{"name": name, "datatype": "INT32", "shape": [-1, 16]} for name in ("OUTPUT0", "OUTPUT1")],
}

DOCUMENTS: list[tuple[str, Mapping[str, object]]] = [
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True}),
    ("/v2/models/simple/ready", {"name": "simple", "ready": True}),
    ("/v2/models/simple", METADATA),
    ("/v2/models/simple/config", {"name": "simple"}),
]

INFERENCES: dict[str, tuple[str, Body, Mapping[str, Output]]] = {
    "flat JSON": ("simple", as_json(INPUT0, INPUT1), BOTH),
    "JSON without a content type": ("simple", Body(SIMPLE), BOTH),
    "binary without a content type": (
        "simple",
        Body(RAW_SIMPLE.content, {name: value for name, value in RAW_SIMPLE.headers.items() if name not in BINARY}),
        BOTH,
    ),
    "nested JSON": ("simple", as_json(INPUT0 | {"data": [RAMP]}, INPUT1), BOTH),
    "inputs in another order": ("simple", as_json(INPUT1, INPUT0), BOTH),
    "some outputs": ("simple", as_json(INPUT0, INPUT1, outputs=[{"name": "OUTPUT1"}]), {"OUTPUT1": OUTPUT1}),
    "two rows": (
        "simple",
        as_json(INPUT0 | {"shape": [2, 16], "data": RAMP * 2}, INPUT1 | {"shape": [2, 16], "data": ONES * 2}),
        {"OUTPUT0": Output("INT32", [2, 16], SUM * 2), "OUTPUT1": Output("INT32", [2, 16], DIFFERENCE * 2)},
    ),
    "binary in": ("simple", as_binary(INPUT0, INPUT1), BOTH),
    "binary out": ("simple", as_json(INPUT0, INPUT1, outputs=[binary_output("OUTPUT0")]), {"OUTPUT0": RAW0}),
    "binary in and out": (
        "simple",
        as_binary(INPUT0, INPUT1, outputs=[binary_output("OUTPUT0"), {"name": "OUTPUT1"}]),
        {"OUTPUT0": RAW0, "OUTPUT1": OUTPUT1},
    ),
    "all outputs binary but one": (
        "simple",
        as_json(
            INPUT0,
            INPUT1,
            parameters={"binary_data_output": True},
            outputs=[{"name": "OUTPUT0"}, binary_output("OUTPUT1", binary=False)],
        ),
        {"OUTPUT0": RAW0, "OUTPUT1": OUTPUT1},
    ),
    "gzip": ("simple", Body(gzip.compress(SIMPLE), JSON | {"Content-Encoding": "gzip"}), BOTH),
    "deflate": ("simple", Body(zlib.compress(SIMPLE), JSON | {"Content-Encoding": "deflate"}), BOTH),
    "raw body": (
        "double",
        Body(raw_bytes(X), BINARY | {"Inference-Header-Content-Length": "0"}),
        {"y": Output("FP32", [1, 4], [1, 2, 4, 8], binary=True)},
    ),
    "BOOL, BYTES and FP16": (
        "types",
        as_binary(FLAG, TEXT, HALF, outputs=[binary_output(f"{name}_out") for name in ("flag", "text", "half")]),
        {
            "flag_out": Output("BOOL", [2], [True, False], binary=True),
            "text_out": Output("BYTES", [2], ["é", ""], binary=True),
            "half_out": Output("FP16", [1], [0.5], binary=True),
        },
    ),
    "BOOL and BYTES as JSON": (
        "types",
        as_binary(FLAG, TEXT, HALF, outputs=[{"name": "flag_out"}, {"name": "text_out"}]),
        {"flag_out": Output("BOOL", [2], [True, False]), "text_out": Output("BYTES", [2], ["é", ""])},
    ),
}

REFUSALS: dict[str, tuple[int, str, str, Body]] = {
    "unknown route": (404, "GET", "/v2/nowhere", Body(b"")),
    "unknown model": (404, "GET", "/v2/models/nobody", Body(b"")),
    "unknown model, infer": (404, "POST", "/v2/models/nobody/infer", as_json(X)),
    "unknown version": (404, "POST", "/v2/models/double/versions/none/infer", as_json(X)),
    "wrong method": (405, "GET", "/v2/models/double/infer", Body(b"")),
    "wrong method for metadata": (405, "DELETE", "/v2/models/double", Body(b"")),
} | {
    name: (400, "POST", f"/v2/models/{model}/infer", body)
    for name, (model, body) in {
        "no body": ("double", Body(b"", JSON)),
        "bad JSON": ("double", Body(b'{"inputs": [', JSON)),
        "JSON of another kind": ("double", Body(b"[]", JSON)),
        "no inputs": ("double", Body(b"{}", JSON)),
        "missing input": ("simple", as_json(INPUT0)),
        "duplicate input": ("simple", as_json(INPUT0, INPUT1, INPUT1)),
        "unknown input": ("double", as_json(X, X | {"name": "z"})),
        "unknown output": ("double", as_json(X, outputs=[{"name": "z"}])),
        "wrong rank": ("double", as_json(X | {"shape": [4]})),
        "wrong shape": ("double", as_json(X | {"shape": [1, 5], "data": [1, 2, 3, 4, 5]})),
        "negative size": ("double", as_json(X | {"shape": [-1, 4]})),
        "no shape": ("double", as_json(without(X, "shape"))),
        "wrong datatype": ("double", as_json(X | {"datatype": "FP64"})),
        "no datatype": ("double", as_json(without(X, "datatype"))),
        "too little data": ("double", as_json(X | {"data": [1, 2, 3]})),
        "too much data": ("double", as_json(X | {"data": [1, 2, 3, 4, 5]})),
        "data of another type": ("double", as_json(X | {"data": ["a", "b", "c", "d"]})),
        "no data": ("double", as_json(without(X, "data"))),
        "FP16 as JSON": ("types", as_json(FLAG, TEXT, HALF)),
        "truncated binary": ("double", Body(as_binary(X).content[:-1], as_binary(X).headers)),
        "surplus binary": ("double", Body(as_binary(X).content + b"\0", as_binary(X).headers)),
        "binary of another size": ("double", as_binary(X | {"data": [1, 2, 3]})),
        "binary without header": ("double", Body(as_binary(X).content)),
        "header beyond the body": ("double", Body(b"{}", {"Inference-Header-Content-Length": "99"})),
        "header that is no number": ("double", Body(b"{}", {"Inference-Header-Content-Length": "many"})),
        "raw body of another size": ("double", Body(b"123", {"Inference-Header-Content-Length": "0"})),
        "truncated text": ("types", Body(as_binary(TEXT).content[:-1], as_binary(TEXT).headers)),
        "not gzip": ("double", Body(b"{}", {"Content-Encoding": "gzip"})),
    }.items()
}
