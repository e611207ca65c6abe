"""A real cluster with a node for all tests of a session, and a namespace for each that takes restricted pods only."""

import os
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest

from lacking import LackingError
from node import NodeCluster
from waiting import until


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[NodeCluster]:
    """The cluster of ``make cluster-up``, which stays if it ran before; skips where it cannot run, except in CI."""
    cluster = NodeCluster()
    ran_before = cluster.running()
    try:
        cluster.up()
    except LackingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield cluster
    if not ran_before:
        cluster.down()


@pytest.fixture(scope="session")
def client(node_cluster: NodeCluster) -> Iterator[httpx.Client]:
    """Plain HTTP as the administrator: what the server answers is seen as it is."""
    control_plane = node_cluster.control_plane
    with httpx.Client(base_url=control_plane.url, verify=control_plane.tls(), timeout=30) as client:
        yield client


@pytest.fixture
def namespace(client: httpx.Client) -> Iterator[str]:
    """The name of a fresh namespace; pods that break Pod Security's "restricted" are refused there."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"metadata": {"generateName": "test-", "labels": labels}}
    name: str = client.post("/api/v1/namespaces", json=body).raise_for_status().json()["metadata"]["name"]
    path = f"/api/v1/namespaces/{name}"
    # Made by controllers; until then every pod is refused, or waits for its volumes.
    made = [f"{path}/serviceaccounts/default", f"{path}/configmaps/kube-root-ca.crt"]
    until(lambda: all(client.get(each).status_code == HTTPStatus.OK for each in made), f"{made}")
    yield name
    client.delete(path).raise_for_status()
