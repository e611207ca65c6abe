"""A real API server with its controllers for all tests of a session, and a namespace for each; there is no node."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import binaries
from charts import Helm
from control_plane import ControlPlane
from crds import CRDS, served
from lacking import MISSING, LackingError
from operators import Cluster, Object, Operator, fresh_namespace, running


@pytest.fixture(scope="session")
def kubebox() -> Path:
    """The program that holds Kubernetes. The tier ends where it cannot be built."""
    try:
        return binaries.kubebox()
    except LackingError as error:
        pytest.exit(str(error), returncode=MISSING)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm with nothing of this machine's user. The tier ends where it cannot be built."""
    try:
        return Helm(binaries.helm(), tmp_path_factory.mktemp("helm"))
    except LackingError as error:
        pytest.exit(str(error), returncode=MISSING)


@pytest.fixture(scope="session")
def api_server(kubebox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that a test may stop and start; whoever stops it starts it again."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("api-server") / "state", kubebox, dies_with_parent=True)
    try:
        control_plane.up()
        yield control_plane
    finally:
        control_plane.down()


@pytest.fixture(scope="session")
def client(api_server: ControlPlane) -> Iterator[httpx.Client]:
    """Plain HTTP as the administrator: what the server answers is seen as it is."""
    with httpx.Client(base_url=api_server.url, verify=api_server.tls(), timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def crds(client: httpx.Client) -> list[Object]:
    """The CRDs of ``crds/``, served."""
    return [served(client, path) for path in CRDS]


@pytest.fixture
def namespace(client: httpx.Client) -> Iterator[str]:
    """The name of a fresh namespace in which pods can be created."""
    with fresh_namespace(client) as name:
        yield name


@pytest.fixture
def cluster(client: httpx.Client, namespace: str, crds: list[Object]) -> Cluster:
    """The namespace of a test, with our kinds served."""
    return Cluster(client, namespace)


@pytest.fixture
def operator(cluster: Cluster, api_server: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    """A running operator."""
    with running(Operator(api_server.kubeconfig, cluster.namespace, tmp_path)) as operator:
        yield operator
