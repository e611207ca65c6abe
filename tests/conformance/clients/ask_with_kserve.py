"""Asks a server with each of KServe's two clients; run by an interpreter that has kserve.

``python ask_with_kserve.py HOST HTTP-PORT GRPC-PORT``; the server holds the model ``simple``.
"""

import asyncio
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

NAME = "simple"
INPUTS = {"INPUT0": np.arange(16, dtype=np.int32).reshape(1, 16), "INPUT1": np.ones((1, 16), np.int32)}
EXPECTED = {"OUTPUT0": INPUTS["INPUT0"] + 1, "OUTPUT1": INPUTS["INPUT0"] - 1}


def request(model=NAME, *, binary, outputs=None):
    inputs = []
    for name, values in INPUTS.items():
        inputs.append(InferInput(name, list(values.shape), "INT32"))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    return InferRequest(model, inputs, request_id="7", request_outputs=outputs)


def check(response):
    assert (response.model_name, response.id) == (NAME, "7"), (response.model_name, response.id)
    assert {output.name for output in response.outputs} == set(EXPECTED)
    for output in response.outputs:
        assert output.datatype == "INT32", output.datatype
        np.testing.assert_array_equal(output.as_numpy(), EXPECTED[output.name], strict=True)


async def http(url):
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, NAME)
        assert not await client.is_model_ready(url, "nobody")
        for sent in (True, False):
            for wanted in (True, False):
                outputs = [RequestedOutput(name, {"binary_data": wanted}) for name in EXPECTED]
                check(await client.infer(url, request(binary=sent, outputs=outputs), model_name=NAME))
        check(await client.infer(url, request(binary=True), model_name=NAME))
        said = "served"
        try:
            await client.infer(url, request("nobody", binary=True), model_name="nobody")
        except httpx.HTTPStatusError as error:
            said = str(error)
        assert "model 'nobody' is not served here" in said, said
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        rows = {name: values.tolist() for name, values in INPUTS.items()}
        found = await client.infer(url, {"inputs": rows}, model_name=NAME)
        assert found == {"outputs": {name: values.tolist() for name, values in EXPECTED.items()}}, found


async def by_grpc(address):
    async with InferenceGRPCClient(address, retries=0) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(NAME)
        for binary in (True, False):
            check(await client.infer(request(binary=binary)))
        code = grpc.StatusCode.OK
        try:
            await client.infer(request("nobody", binary=True))
        except grpc.RpcError as error:
            code = error.code()
        assert code == grpc.StatusCode.NOT_FOUND, code


if __name__ == "__main__":
    host, http_port, grpc_port = sys.argv[1:]
    asyncio.run(http(f"http://{host}:{http_port}"))
    asyncio.run(by_grpc(f"{host}:{grpc_port}"))
