"""Gangs on an API server that serves PodGroups, which Kubernetes 1.37 does only where its feature gate is set."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from control_plane import ControlPlane
from crds import CRDS, served
from operators import Cluster, Operator, fresh_namespace, running, sources, training
from waiting import until

GATE = {"feature-gates": "GenericWorkload=true"}
FLAGS = {**GATE, "runtime-config": "scheduling.k8s.io/v1beta1=true"}
GROUPS = "/apis/scheduling.k8s.io/v1beta1/namespaces"


@pytest.fixture
def gangs(kubebox: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A namespace of an API server with PodGroups, whose objects an operator keeps."""
    control_plane = ControlPlane(tmp_path / "state", kubebox, dies_with_parent=True)
    try:
        control_plane.up(api_server_flags=FLAGS, controller_flags=GATE)
        with (
            httpx.Client(base_url=control_plane.url, verify=control_plane.tls(), timeout=30) as client,
            fresh_namespace(client) as name,
        ):
            for path in CRDS:
                served(client, path)
            with running(Operator(control_plane.kubeconfig, name, tmp_path)):
                yield Cluster(client, name)
    finally:
        control_plane.down()


def test_all_pods_of_an_attempt_are_one_group_that_goes_with_it(gangs: Cluster) -> None:
    sources(gangs)
    training(gangs)
    until(lambda: len(gangs.pods("digits-train-1")) == 2, "two pods", seconds=90)
    path = f"{GROUPS}/{gangs.namespace}/podgroups"
    [group] = gangs.client.get(path).raise_for_status().json()["items"]
    assert (group["metadata"]["name"], group["spec"]["schedulingPolicy"]) == (
        "digits-train-1",
        {"gang": {"minCount": 2}},
    )
    for pod in gangs.pods("digits-train-1"):
        assert pod["spec"]["schedulingGroup"] == {"podGroupName": "digits-train-1"}
    gangs.patch("trainingjobs", "digits", {"spec": {"suspend": True}})
    until(lambda: gangs.client.get(path).raise_for_status().json()["items"] == [], "the group goes with the Job")
