"""The cluster under these tests does what a cluster does, and goes without a trace."""

import json
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

import binaries
from node import NodeCluster
from waiting import until

Object = dict[str, Any]
PORT = "8080"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Pods:
    """Pods of the tests' own program in a namespace."""

    def __init__(self, client: httpx.Client, cluster: NodeCluster, namespace: str, image: str) -> None:
        self.client = client
        self.cluster = cluster
        self.namespace = namespace
        self.image = image

    def spec(self, *arguments: str, claim: str = "") -> Object:
        container: Object = {
            "name": "main",
            "image": self.image,
            "args": [*arguments],
            "securityContext": RESTRICTED,
            "resources": {"requests": {"cpu": "50m"}},
        }
        spec: Object = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
        if claim:
            container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
            spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        return spec

    def start(self, name: str, *arguments: str, claim: str = "") -> None:
        body = {"metadata": {"name": name, "labels": {"app": name}}, "spec": self.spec(*arguments, claim=claim)}
        self.create("/api/v1", "pods", body)

    def said(self, name: str, *arguments: str, claim: str = "") -> str:
        """What a pod with these arguments prints until its good end."""
        self.start(name, *arguments, claim=claim)
        self.wait(name, "Succeeded")
        return self.log(name)

    def wait(self, name: str, phase: str) -> Object:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"

        def look() -> Object | None:
            pod: Object = self.client.get(path).raise_for_status().json()
            assert pod["status"].get("phase") != "Failed", f"{pod['status']}: {self.log(name)}"
            return pod if pod["status"].get("phase") == phase else None

        return until(look, f"{name} {phase}", 60)

    def log(self, name: str) -> str:
        return self.client.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}/log").text

    def serve(self, name: str, text: str) -> None:
        """A pod that answers with the text, and its Service."""
        self.start(name, "serve", PORT, text)
        spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": int(PORT)}]}
        self.create("/api/v1", "services", {"metadata": {"name": name}, "spec": spec})
        self.wait(name, "Running")
        until(lambda: "serving" in self.log(name), f"{name} serves")

    def create(self, group: str, plural: str, body: Object) -> None:
        path = f"{group}/namespaces/{self.namespace}/{plural}"
        response = self.client.post(path, json=body)
        assert response.is_success, response.text

    def kubectl(self, *arguments: str) -> str:
        cluster = [f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}"]
        command = [str(binaries.kubectl()), *cluster, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def image(node_cluster: NodeCluster) -> str:
    return node_cluster.push(binaries.pod())


@pytest.fixture
def pods(client: httpx.Client, node_cluster: NodeCluster, namespace: str, image: str) -> Pods:
    return Pods(client, node_cluster, namespace, image)


def test_a_pod_that_is_not_restricted_is_refused(pods: Pods) -> None:
    body = {"metadata": {"name": "loose"}, "spec": {"containers": [{"name": "main", "image": pods.image}]}}
    refused = pods.client.post(f"/api/v1/namespaces/{pods.namespace}/pods", json=body)
    assert refused.status_code == HTTPStatus.FORBIDDEN
    assert 'violates PodSecurity "restricted' in refused.json()["message"]


def test_pods_find_a_service_by_its_name(pods: Pods) -> None:
    pods.serve("server", "hello")
    assert pods.said("client", "ask", "http://server") == "hello"


def test_a_pod_reaches_itself_by_its_service(pods: Pods) -> None:
    pods.serve("server", "hello")
    url = f"http://server.{pods.namespace}.svc"  # the short name is the pod's own, in its /etc/hosts
    assert pods.kubectl("exec", "server", "--", "/pod", "ask", url) == "hello"


def test_pods_find_the_api_server(pods: Pods) -> None:
    assert pods.said("finder", "find", "kubernetes.default.svc.cluster.local") == "10.96.0.1\n"
    answer = json.loads(pods.said("asker", "ask", "https://kubernetes.default/version"))
    assert answer["gitVersion"] == f"v{binaries.kubernetes()}"


def test_pods_reach_this_machine_by_the_gateway(pods: Pods, web: str) -> None:
    assert pods.said("asker", "ask", web) == "from the machine"


def test_exec_and_logs(pods: Pods) -> None:
    pods.serve("server", "hello")
    assert pods.kubectl("logs", "server") == "serving\n"
    assert pods.kubectl("exec", "server", "--", "/pod", "ask", f"http://127.0.0.1:{PORT}") == "hello"


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany"])
def test_a_claim_gets_a_volume_that_goes_with_it(pods: Pods, mode: str) -> None:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Mi"}}}
    pods.create("/api/v1", "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": spec})
    pods.said("writer", "write", "/data/file", "kept", claim="data")
    assert pods.said("reader", "read", "/data/file", claim="data") == "kept"

    def volumes() -> list[Object]:
        items: list[Object] = pods.client.get("/api/v1/persistentvolumes").raise_for_status().json()["items"]
        return [each for each in items if each["spec"]["claimRef"]["namespace"] == pods.namespace]

    (volume,) = volumes()
    folder = Path(volume["spec"]["hostPath"]["path"])
    assert (folder / "file").read_text() == "kept"
    pods.kubectl("delete", "pod", "writer", "reader")
    pods.kubectl("delete", "pvc", "data")
    until(lambda: not volumes() and not folder.exists(), "the volume goes")


def test_an_autoscaler_acts_on_real_load(pods: Pods) -> None:
    template = {"metadata": {"labels": {"app": "busy"}}, "spec": {**pods.spec("burn"), "restartPolicy": "Always"}}
    deployment = {
        "metadata": {"name": "busy"},
        "spec": {"selector": {"matchLabels": {"app": "busy"}}, "template": template},
    }
    target = {"type": "Utilization", "averageUtilization": 50}
    autoscaler = {
        "metadata": {"name": "busy"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    pods.create("/apis/apps/v1", "deployments", deployment)
    pods.create("/apis/autoscaling/v2", "horizontalpodautoscalers", autoscaler)
    path = f"/apis/apps/v1/namespaces/{pods.namespace}/deployments/busy"
    until(lambda: pods.client.get(path).json()["status"].get("readyReplicas") == 2, "a second replica", 120)


def test_the_node_survives_an_api_server_that_crashes(pods: Pods) -> None:
    pods.serve("server", "hello")
    control_plane = pods.cluster.control_plane
    control_plane.stop_api_server()
    control_plane.start_api_server()
    assert pods.said("client", "ask", "http://server") == "hello"
    assert pods.wait("server", "Running")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_audit_log_says_who_asked_for_what(pods: Pods) -> None:
    pods.start("audited")

    def logged() -> list[Object]:
        events = [json.loads(line) for line in pods.cluster.audit_log.read_text().splitlines()]
        created = [each for each in events if each["verb"] == "create"]
        return [each for each in created if each["objectRef"].get("name") == "audited"]

    event = until(logged, "a line about the pod")[0]
    assert event["objectRef"]["namespace"] == pods.namespace
    assert event["user"]["username"]
    assert "requestObject" not in event


def test_up_twice_is_one_cluster(node_cluster: NodeCluster) -> None:
    before = node_cluster.processes.pids()
    NodeCluster(node_cluster.folder).up()
    assert node_cluster.processes.pids() == before


@pytest.fixture
def web(node_cluster: NodeCluster) -> Iterator[str]:
    """A server on this machine."""
    command = [str(binaries.pod()), "serve", "18080", "from the machine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdout.readline() == "serving\n"
        yield f"http://{node_cluster.gateway}:18080"
        server.kill()
