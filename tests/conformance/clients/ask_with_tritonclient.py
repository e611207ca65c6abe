"""Asks a server with each of tritonclient's four clients; run by an interpreter that has tritonclient[all].

``python ask_with_tritonclient.py HOST HTTP-PORT GRPC-PORT``; the server holds the model ``simple``.
"""

import asyncio
import sys

import numpy as np
import tritonclient.grpc as by_grpc
import tritonclient.grpc.aio as by_grpc_aio
import tritonclient.http as by_http
import tritonclient.http.aio as by_http_aio
from tritonclient.utils import InferenceServerException

NAME = "simple"
INPUTS = {"INPUT0": np.arange(16, dtype=np.int32).reshape(1, 16), "INPUT1": np.ones((1, 16), np.int32)}
EXPECTED = {"OUTPUT0": INPUTS["INPUT0"] + 1, "OUTPUT1": INPUTS["INPUT0"] - 1}


def inputs(module, **options):
    found = []
    for name, values in INPUTS.items():
        found.append(module.InferInput(name, list(values.shape), "INT32"))
        found[-1].set_data_from_numpy(values, **options)
    return found


def check(result):
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(result.as_numpy(name), values, strict=True)


def health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert not client.is_model_ready("nobody")


def refusal(client, given):
    said = "served"
    try:
        client.infer("nobody", given)
    except InferenceServerException as error:
        said = str(error)
    assert "nobody" in said, said


def http(address):
    client = by_http.InferenceServerClient(address)
    health(client)
    assert client.get_model_metadata(NAME)["platform"] == "onnx_onnxv1"
    assert client.get_model_config(NAME)["max_batch_size"] > 0
    for binary in (True, False):
        given = inputs(by_http, binary_data=binary)
        wanted = [by_http.InferRequestedOutput(name, binary_data=binary) for name in EXPECTED]
        for coding in (None, "gzip", "deflate"):
            check(client.infer(NAME, given, outputs=wanted, request_id="7", request_compression_algorithm=coding))
    statistics = client.get_inference_statistics(NAME)["model_stats"][0]
    assert statistics["inference_stats"]["success"]["count"] >= 6
    refusal(client, given)


def grpc(address):
    client = by_grpc.InferenceServerClient(address)
    health(client)
    assert client.get_model_metadata(NAME).platform == "onnx_onnxv1"
    for coding in (None, "gzip"):
        check(client.infer(NAME, inputs(by_grpc), request_id="7", compression_algorithm=coding))
    refusal(client, inputs(by_grpc))


async def later(module, given, address):
    client = module.InferenceServerClient(address)
    assert await client.is_model_ready(NAME)
    for result in await asyncio.gather(*(client.infer(NAME, given) for _ in range(8))):
        check(result)
    await client.close()


if __name__ == "__main__":
    host, http_port, grpc_port = sys.argv[1:]
    http(f"{host}:{http_port}")
    grpc(f"{host}:{grpc_port}")
    asyncio.run(later(by_http_aio, inputs(by_http), f"{host}:{http_port}"))
    asyncio.run(later(by_grpc_aio, inputs(by_grpc), f"{host}:{grpc_port}"))
