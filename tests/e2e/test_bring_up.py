"""A cluster comes up after any death of the one before it, and goes without a trace."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import binaries
from containers import CGROUP, CGROUPS
from lacking import MISSING, LackingError
from network import BRIDGE, CNI_RESULTS
from node import NodeCluster
from waiting import until


@pytest.fixture
def cluster() -> Iterator[NodeCluster]:
    """One that is this test's alone, so no other test's may run."""
    cluster = NodeCluster()
    if cluster.running():
        assert not os.environ.get("CI"), "a cluster runs"
        pytest.skip("a cluster runs; `make cluster-down` ends it")
    try:
        cluster.up()
    except LackingError as error:
        pytest.exit(str(error), returncode=MISSING)
    yield cluster
    cluster.down()


@pytest.mark.first
def test_up_after_all_was_killed_and_down_without_a_trace(cluster: NodeCluster) -> None:
    run_a_pod(cluster)
    assert any("kubelet/pods" in trace for trace in traces(cluster))
    for pid in cluster.processes.pids().values():
        os.kill(pid, signal.SIGKILL)
    cluster.up()
    run_a_pod(cluster)
    cluster.down()
    until(lambda: traces(cluster) == [], "no trace is left")
    cluster.down()


def run_a_pod(cluster: NodeCluster) -> None:
    container = {"name": "main", "image": cluster.push(binaries.pod())}
    control_plane = cluster.control_plane
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    until(lambda: control_plane.get(account), "the default service account")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [container]}}
    control_plane.apply("/api/v1/namespaces/default/pods", pod)

    def running() -> bool:
        found = control_plane.get("/api/v1/namespaces/default/pods/pod")
        return found is not None and found["status"].get("phase") == "Running"

    until(running, "the pod runs", 60)


def traces(cluster: NodeCluster) -> list[str]:
    """Everything on this machine that only the cluster can have made."""
    ours = str(cluster.folder)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if ours in line]
    commands = {path.parent.name: command(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    processes = [command for pid, command in commands.items() if ours in command]
    links = [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith((BRIDGE, "veth"))]
    rules = [
        line
        for family in ("iptables", "ip6tables")
        for line in subprocess.run([f"{family}-save"], capture_output=True, text=True, check=True).stdout.splitlines()
        if "KUBE-" in line or BRIDGE in line
    ]
    control_groups = (*CGROUPS.glob(f"*/{CGROUP}"), CGROUPS / CGROUP)
    files = [path for path in (cluster.folder, *control_groups, *CNI_RESULTS.glob("*")) if path.exists()]
    return [*mounts, *processes, *links, *rules, *map(str, files)]


def command(path: Path) -> str:
    try:
        return path.read_text().replace("\0", " ")
    except OSError:
        return ""
