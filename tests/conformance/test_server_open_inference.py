"""Open Inference Protocol v2 over four transports; ``python -m tests.conformance`` asks other servers the same."""

from collections.abc import Mapping

import httpx
import pytest
from tests.conformance.checks import Check, Place, checks
from tests.conformance.http_table import X, as_json
from tests.conformance.transports import Grpc

from modelyard_server import open_inference_pb2 as messages

CHECKS = {f"{check.transport}: {check.name}": check for check in checks()}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conformance(places: Mapping[str, Place], check: Check) -> None:
    assert check.run(places.get(check.model, places["double"])) is None


def test_the_server_names_itself_and_its_extensions(urls: Mapping[str, str]) -> None:
    document = httpx.get(f"{urls['simple']}/v2").json()
    assert {key: type(value) for key, value in document.items()} == {"name": str, "version": str, "extensions": list}
    assert "binary_tensor_data" in document["extensions"]


def test_an_answer_names_model_version_and_request(urls: Mapping[str, str]) -> None:
    version = httpx.get(f"{urls['double']}/v2/models/double").json()["versions"][0]
    url = f"{urls['double']}/v2/models/double/versions/{version}/infer"
    answer = httpx.post(url, content=as_json(X, id="7").content).json()
    del answer["outputs"]
    assert answer == {"model_name": "double", "model_version": version, "id": "7"}


@pytest.mark.parametrize(
    ("name", "version", "ready"), [("double", "", True), ("nobody", "", False), ("double", "9", False)]
)
def test_over_grpc_what_is_not_served_is_not_ready(
    places: Mapping[str, Place], name: str, version: str, *, ready: bool
) -> None:
    address = places["double"].grpc
    assert address is not None
    request = messages.ModelReadyRequest(name=name, version=version)
    assert Grpc(address, raw=True).ask("ModelReady", request, messages.ModelReadyResponse).ready == ready
