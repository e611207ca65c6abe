"""Pods that no node takes, in the words of the real scheduler; the node is an object that nobody serves."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from control_plane import ControlPlane
from crds import CRDS, served
from operators import MERGE, Cluster, Object, Operator, fresh_namespace, running, sources, training
from waiting import until

GPU = "nvidia.com/gpu"


@pytest.fixture(scope="module")
def scheduling(kubebox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with a scheduler, and one node, which no controller taints because nobody sends heartbeats."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("scheduling") / "state", kubebox, dies_with_parent=True)
    control_plane.up(scheduler=True, controller_flags={"controllers": "*,-node-lifecycle-controller"})
    try:
        with httpx.Client(base_url=control_plane.url, verify=control_plane.tls(), timeout=30) as client:
            for path in CRDS:
                served(client, path)
            node(client)
        yield control_plane
    finally:
        control_plane.down()


def node(client: httpx.Client) -> None:
    """A node with a tainted GPU."""
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "20", GPU: "1"}
    taint = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    body = {
        "metadata": {"name": "gpu-1", "labels": {"zone": "a"}},
        "spec": {"taints": [taint]},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [ready]},
    }
    client.post("/api/v1/nodes", json=body).raise_for_status()
    # On its way in it got the taint of a node that is not ready.
    client.patch("/api/v1/nodes/gpu-1", json={"spec": {"taints": [taint]}}, headers=MERGE).raise_for_status()


@pytest.fixture
def cluster(scheduling: ControlPlane, tmp_path: Path) -> Iterator[Cluster]:
    with (
        httpx.Client(base_url=scheduling.url, verify=scheduling.tls(), timeout=30) as client,
        fresh_namespace(client) as namespace,
        running(Operator(scheduling.kubeconfig, namespace, tmp_path)),
    ):
        yield Cluster(client, namespace)


def scheduled(cluster: Cluster) -> Object:
    return cluster.condition("trainingjobs", "digits", "Scheduled")


@pytest.mark.parametrize(
    ("spec", "words", "remedy"),
    [
        (
            {"accelerator": {"type": GPU, "count": 2}},
            "1 Insufficient nvidia.com/gpu",
            "no node offers enough nvidia.com/gpu: install its device plugin, add nodes, or remove spec.accelerator",
        ),
        ({}, "untolerated taint", "tolerate the nodes' taints in spec.pod.tolerations"),
        (
            {"accelerator": {"type": GPU}, "resources": {"limits": {"memory": "9Gi"}}},
            "1 Insufficient memory",
            "lower spec.resources or add nodes",
        ),
        (
            {"accelerator": {"type": GPU}, "pod": {"nodeSelector": {"zone": "b"}}},
            "didn't match Pod's node affinity/selector",
            "compare spec.pod.nodeSelector with the nodes' labels",
        ),
    ],
    ids=["GPUs", "taint", "memory", "labels"],
)
def test_what_no_node_has_is_told_with_the_remedy(cluster: Cluster, spec: Object, words: str, remedy: str) -> None:
    sources(cluster)
    training(cluster, nodes=1, output=None, **spec)
    until(lambda: scheduled(cluster).get("reason") == "Unschedulable", "the scheduler says no", seconds=60)
    message = scheduled(cluster)["message"]
    assert message.startswith("1 pod waits for a node: 0/1 nodes are available: "), message
    assert words in message
    assert message.endswith(f"; {remedy}"), message
    status = cluster.status("trainingjobs", "digits")
    assert (status["state"], status["message"]) == ("Pending", message)


@pytest.mark.parametrize(
    "spec",
    [
        {"accelerator": {"type": GPU}},
        {"pod": {"tolerations": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]}},
    ],
    ids=["with its accelerator", "with a toleration"],
)
def test_a_tainted_node_takes_a_pod(cluster: Cluster, spec: Object) -> None:
    sources(cluster)
    training(cluster, nodes=1, output=None, **spec)
    until(lambda: scheduled(cluster).get("status") == "True", "the scheduler takes it", seconds=60)
