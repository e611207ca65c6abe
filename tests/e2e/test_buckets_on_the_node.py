"""Models in a bucket: a pod publishes by S3, another downloads and serves; keys only by reference."""

from collections.abc import Iterator

import httpx
import pytest

from installed import Kubectl, Place, place, small_training
from node import NodeCluster
from object_stores import BUCKET, ObjectServer, object_server
from waiting import until

SECRET = "store"
WHERE = {"uri": f"s3://{BUCKET}/small", "secretRef": {"name": SECRET}}


@pytest.fixture(scope="module")
def server(node_cluster: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """On the node's address, where pods reach it."""
    with object_server(tmp_path_factory.mktemp("server"), node_cluster.gateway) as server:
        yield server


@pytest.fixture
def here(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[Place]:
    with place(client, kubectl, "buckets") as here:
        yield here


def test_a_model_goes_through_a_bucket(here: Place, server: ObjectServer) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": dict(server.secret)}
    service = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "small"},
        "spec": {"model": {"trainingJob": {"name": "small"}}},
    }
    here.apply(secret, service)
    small_training(here, output=WHERE)
    here.wait("trainingjobs", "small", "Complete")
    artifact = here.cluster.status("trainingjobs", "small")["artifact"]
    assert {"manifest.json", "model.onnx"} <= set(server.names(artifact["uri"].removeprefix(f"s3://{BUCKET}/")))
    here.wait("modelservices", "small", "Ready")
    model = httpx.get(f"{here.url('small')}/v2/models/small").raise_for_status().json()
    assert model["inputs"][0]["shape"] == [-1, 4]
    told = here.kubectl("get", "tjob,msvc,events,configmaps,jobs,deployments,pods", "-o", "yaml")
    assert server.secret["AWS_SECRET_ACCESS_KEY"] not in told


def test_a_missing_secret_is_named_with_the_remedy(here: Place) -> None:
    small_training(here, output=WHERE, restart={"maxRestarts": 0})

    def ended() -> bool:
        return here.condition("trainingjobs", "small", "Failed") == "True"

    until(ended, "it fails", seconds=120)
    message = here.cluster.status("trainingjobs", "small")["message"]
    assert SECRET in message, here.story("trainingjobs", "small")
