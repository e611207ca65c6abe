import asyncio
import json
import re
from collections.abc import Sequence

import httpx
import numpy as np
import pytest

from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard_server import v2
from modelyard_server.service import Service
from modelyard_server.tensors import Tensor

IMAGE = {"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [1, 2, 3, 4]}
INFER = "/v2/models/digits/infer"
MODEL_PATHS = ["/v2/models/digits", "/v2/models/digits/config", "/v1/models/digits", "/v1/models/digits/metadata"]


async def test_infer_answers_with_name_version_and_id(client: httpx.AsyncClient, run: ServeRun) -> None:
    answer = await client.post(INFER, json={"id": "7", "inputs": [IMAGE]})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
        200,
        "application/json",
        {
            "model_name": "digits",
            "model_version": short(run.artifact.digest),
            "id": "7",
            "outputs": [{"name": "score", "datatype": "FP32", "shape": [1, 4], "data": [2, 4, 6, 8]}],
        },
    )


async def test_a_raw_body_is_answered_with_raw_outputs(client: httpx.AsyncClient) -> None:
    pixels = np.arange(8, dtype="<f4")
    answer = await client.post(INFER, content=pixels.tobytes(), headers={"Inference-Header-Content-Length": "0"})
    json_size = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert np.frombuffer(answer.content[json_size:], "<f4").tolist() == (2 * pixels).tolist()


async def test_predict_answers_in_rows(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/digits:predict", json={"instances": [[[[1, 2], [3, 4]]]]})
    assert answer.json() == {"predictions": [[2, 4, 6, 8]]}


async def test_the_model_describes_itself(client: httpx.AsyncClient, run: ServeRun) -> None:
    version = short(run.artifact.digest)
    image, score = {"name": "image", "datatype": "FP32"}, {"name": "score", "datatype": "FP32"}
    documents = [(await client.get(path)).json() for path in MODEL_PATHS]
    del documents[1]["modelyard"], documents[1]["instance_group"]
    assert documents == [
        {
            "name": "digits",
            "versions": [version],
            "platform": "onnx_onnxv1",
            "inputs": [image | {"shape": [-1, 1, 2, 2]}],
            "outputs": [score | {"shape": [-1, 4]}],
        },
        {
            "name": "digits",
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "max_batch_size": 256,
            "input": [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 2, 2]}],
            "output": [{"name": "score", "data_type": "TYPE_FP32", "dims": [4]}],
        },
        {
            "model_version_status": [
                {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        },
        {
            "model_spec": {"name": "digits", "signature_name": "", "version": version},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        "serving_default": {
                            "inputs": {"image": tensor_info("image:0", -1, 1, 2, 2)},
                            "outputs": {"score": tensor_info("score:0", -1, 4)},
                            "method_name": "tensorflow/serving/predict",
                        }
                    }
                }
            },
        },
    ]


def tensor_info(name: str, *sizes: int) -> dict[str, object]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": name}


async def test_a_loaded_server_is_ready(client: httpx.AsyncClient) -> None:
    paths = ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"]
    assert [(await client.get(path)).json() for path in paths] == [
        {"live": True},
        {"ready": True},
        {"name": "digits", "ready": True},
    ]


async def test_a_loading_server_is_live_only(loading_client: httpx.AsyncClient) -> None:
    answers = [await loading_client.get(path) for path in ["/v2/health/ready", "/v2/models/digits/ready", *MODEL_PATHS]]
    answers.append(await loading_client.post(INFER, json={"inputs": [IMAGE]}))
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (503, '{"error":"model \'digits\' is still loading"}')
    }
    assert (await loading_client.get("/v2/health/live")).json() == {"live": True}


async def test_a_stopping_server_is_not_ready_but_serves(client: httpx.AsyncClient, service: Service) -> None:
    service.stopping = True
    ready = await client.get("/v2/health/ready")
    served = await client.post(INFER, json={"inputs": [IMAGE]})
    assert (ready.status_code, ready.json()) == (503, {"error": "this server is stopping"})
    assert (served.status_code, served.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v2/models/other", "model 'other' is not served here; this server has 'digits'"),
        ("/v2/models/digits/versions/1/ready", "version '1' is not served here; this server has "),
        ("/v1/models/other", "model 'other' is not served here; this server has 'digits'"),
    ],
)
async def test_other_models_and_versions_are_unknown(client: httpx.AsyncClient, path: str, error: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith(error)


async def test_the_version_is_the_short_digest(client: httpx.AsyncClient, run: ServeRun) -> None:
    answer = await client.post(
        f"/v2/models/digits/versions/{short(run.artifact.digest)}/infer", json={"inputs": [IMAGE]}
    )
    assert answer.status_code == 200


async def test_a_wrong_method_names_the_right_one(client: httpx.AsyncClient) -> None:
    answer = await client.get(INFER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_large_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=bytes(4097))
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "body is larger than 4096 bytes; send fewer rows at once"},
    )


async def test_a_full_server_says_when_to_try_again(client: httpx.AsyncClient, service: Service) -> None:
    service.most_in_flight = 0
    busy = await client.post(INFER, json={"inputs": [IMAGE]})
    service.most_in_flight, service.most_held = 1, 0
    large = await client.post(INFER, json={"inputs": [IMAGE]})
    assert [(each.status_code, each.headers["retry-after"]) for each in (busy, large)] == [(503, "1")] * 2
    assert (service.in_flight, service.held) == (0, 0)


async def test_what_fails_inside_stays_inside(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(codec: v2.Codec, request: v2.InferRequest, results: Sequence[Tensor]) -> v2.InferAnswer:
        raise RuntimeError("secret")

    monkeypatch.setattr(v2.Codec, "encode", fail)
    answer = await client.post(INFER, json={"inputs": [IMAGE]}, headers={"X-Request-Id": "a-7"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error; the server's log has it under a-7"})
    assert "digits: request a-7 failed" in caplog.text


@pytest.mark.parametrize("given", ["", "a b", "x" * 65])
async def test_an_error_carries_an_id_also_if_the_client_gave_none_that_is_plain(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


async def test_metrics_count_by_protocol_and_code(client: httpx.AsyncClient, run: ServeRun) -> None:
    await asyncio.gather(*(client.post(INFER, json={"inputs": [IMAGE]}) for _ in range(3)))
    await client.post(INFER, content=b"{")
    await client.post("/v1/models/nobody-knows:predict", content=b"{}")
    lines = (await client.get("/metrics")).text.splitlines()
    digest = run.artifact.digest
    assert set(lines) >= {
        'modelyard_requests_total{code="200",protocol="v2"} 3.0',
        'modelyard_requests_total{code="400",protocol="v2"} 1.0',
        'modelyard_requests_total{code="404",protocol="v1"} 1.0',
        'modelyard_request_duration_seconds_count{protocol="v2"} 3.0',
        "modelyard_requests_in_flight 0.0",
        f'modelyard_model_info{{digest="{digest}",model="digits",version="{short(digest)}"}} 1.0',
    }
    assert not any("nobody-knows" in line for line in lines)


async def test_every_error_is_json(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get("/nowhere"),
        await client.post(INFER, content=b"{"),
        await client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": "x"}),
        await client.post(INFER, content=b"{}", headers={"Content-Encoding": "br"}),
    ]
    assert [(answer.status_code, list(json.loads(answer.content))) for answer in answers] == [
        (404, ["error"]),
        (400, ["error"]),
        (400, ["error"]),
        (400, ["error"]),
    ]
