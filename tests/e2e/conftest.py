"""A real cluster with a node for all tests of a session, and a namespace for each that takes restricted pods only."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

import binaries
import build
from charts import Helm
from engines import ImagesError
from installed import RELEASE, RESTRICTED, SYSTEM, Kubectl, install
from lacking import MISSING, LackingError
from node import NodeCluster
from operators import fresh_namespace


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[NodeCluster]:
    """The cluster of ``make cluster-up``, which stays if it ran before. The tier ends where it cannot run."""
    cluster = NodeCluster()
    ran_before = cluster.running()
    try:
        cluster.up()
    except LackingError as error:
        pytest.exit(str(error), returncode=MISSING)
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
    with fresh_namespace(client, labels=RESTRICTED) as name:
        yield name


@pytest.fixture(scope="session")
def node(node_cluster: NodeCluster) -> str:
    """The node's name."""
    return node_cluster.node


@pytest.fixture(scope="session")
def audit_log(node_cluster: NodeCluster) -> Path:
    """A line of JSON for each request to the API server."""
    return node_cluster.audit_log


@pytest.fixture(scope="session")
def kubectl(node_cluster: NodeCluster) -> Kubectl:
    """kubectl with the rights of an administrator."""
    return Kubectl(binaries.kubectl(), node_cluster.kubeconfig)


@pytest.fixture(scope="session")
def helm(node_cluster: NodeCluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm with the rights of an administrator and nothing of this machine's user."""
    return Helm(binaries.helm(), tmp_path_factory.mktemp("helm"), node_cluster.kubeconfig)


@pytest.fixture(scope="session")
def images(node_cluster: NodeCluster) -> Mapping[str, str]:
    """The four images as they are now, by name, where the node pulls them from."""
    try:
        return build.build(push_to=node_cluster.registry)
    except ImagesError as error:
        pytest.exit(str(error), returncode=MISSING)


@pytest.fixture(scope="session")
def modelyard(helm: Helm, kubectl: Kubectl, images: Mapping[str, str]) -> Iterator[None]:
    """Modelyard, installed from its chart; it goes at the end, with its CRDs and all that is left of its objects."""
    install(helm, images)
    yield
    helm.run("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    crds = kubectl("get", "crd", "-o", "name").split()
    kubectl("delete", *(each for each in crds if each.endswith(".modelyard.dev")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what needs the machine alone, last what judges all the others."""
    items.sort(key=lambda item: (not item.get_closest_marker("first"), bool(item.get_closest_marker("last"))))
