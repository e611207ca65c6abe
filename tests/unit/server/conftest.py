"""Tiny artefacts, and clients of servers that run in this process."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper
from tests.unit.server.wire import WireTransport

from modelyard.contract.artifact import MODEL_FILE, Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.runs import ArtifactPlace, BatchingRun, ServeRun
from modelyard.storage import artifacts
from modelyard_server.app import App
from modelyard_server.service import Service

# How long an example takes says something of the machine's other work only.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

Publish = Callable[[bytes, list[TensorSpec], list[TensorSpec]], ServeRun]


@pytest.fixture(scope="session")
def publish(tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """Publishes a model, and gives the run file of a server for it."""

    def published(model: bytes, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> ServeRun:
        directory = tmp_path_factory.mktemp("artefact")
        (directory / MODEL_FILE).write_bytes(model)
        lineage = Lineage(kind="TrainingJob", name="digits", namespace="test", spec_digest=digest_of_bytes(b""))
        manifest = artifacts.manifest_of(directory, inputs, outputs, {}, {}, lineage)
        reference = artifacts.publish(directory, manifest, f"file://{tmp_path_factory.mktemp('store')}")
        return ServeRun(name="digits", artifact=ArtifactPlace(uri=reference.uri, digest=reference.digest))

    return published


@pytest.fixture(scope="session")
def run(publish: Publish) -> ServeRun:
    """A server for ``score = 2 * flatten(image)``."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("Add", ["flat", "flat"], ["score"])],
        "twice",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, 1, 2, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return publish(
        model.SerializeToString(),
        [TensorSpec(name="image", datatype="FP32", shape=[-1, 1, 2, 2])],
        [TensorSpec(name="score", datatype="FP32", shape=[-1, 4])],
    )


@pytest.fixture
def loading_service(run: ServeRun) -> Service:
    """The service before its model is loaded, with room for bodies of 4 KiB."""
    return Service(run.model_copy(update={"max_payload_bytes": 4096}))


@pytest.fixture
async def service(loading_service: Service) -> AsyncIterator[Service]:
    """The service with its model loaded."""
    await loading_service.start()
    yield loading_service
    loading_service.close()


@pytest.fixture(params=[BatchingRun(), BatchingRun(mode="Off")], ids=["batched", "each alone"])
async def either_service(request: pytest.FixtureRequest, run: ServeRun) -> AsyncIterator[Service]:
    """The service where requests share runs, and where they do not."""
    service = Service(run.model_copy(update={"batching": request.param}))
    await service.start()
    yield service
    service.close()


@pytest.fixture
async def loading_client(loading_service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server; the fixture ``client`` also loads its model."""
    async with httpx.AsyncClient(transport=WireTransport(App(loading_service)), base_url="http://server") as client:
        yield client


@pytest.fixture
async def client(loading_client: httpx.AsyncClient, service: Service) -> httpx.AsyncClient:
    """A client of a server that is ready."""
    return loading_client
