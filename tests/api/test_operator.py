"""The operator on a real API server with its real controllers. There is no node: the tests say how pods end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_plane import ControlPlane
from waiting import until

Object = dict[str, Any]
OURS = "/apis/modelyard.dev/v1alpha1/namespaces"
CHILDREN = {
    "configmaps": "/api/v1/namespaces",
    "services": "/api/v1/namespaces",
    "jobs": "/apis/batch/v1/namespaces",
    "deployments": "/apis/apps/v1/namespaces",
}
PUBLISHED = {"uri": "pvc://models/digits/sha256-000000000000", "digest": f"sha256:{64 * '1'}", "sizeBytes": 7}


class Cluster:
    """What a test does in its namespace."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def path(self, plural: str, name: str = "", prefix: str = "") -> str:
        base = prefix or CHILDREN.get(plural, OURS)
        return f"{base}/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, plural: str, body: Object) -> Object:
        created: Object = self.client.post(self.path(plural, prefix=_core(plural)), json=body).raise_for_status().json()
        return created

    def get(self, plural: str, name: str) -> Object | None:
        answer = self.client.get(self.path(plural, name, prefix=_core(plural)))
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def status(self, plural: str, name: str) -> Object:
        found = self.get(plural, name)
        status: Object = (found or {}).get("status", {})
        return status

    def condition(self, plural: str, name: str, kind: str) -> Object:
        conditions = self.status(plural, name).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def children(self) -> dict[str, str]:
        """Name and resourceVersion of all that carries our labels, but pods."""
        found = {}
        for plural in CHILDREN:
            answer = self.client.get(self.path(plural), params={"labelSelector": "modelyard.dev/kind"})
            for each in answer.raise_for_status().json()["items"]:
                found[f"{plural}/{each['metadata']['name']}"] = each["metadata"]["resourceVersion"]
        return found

    def pods(self, job: str) -> list[Object]:
        answer = self.client.get(
            self.path("pods", prefix="/api/v1/namespaces"), params={"labelSelector": f"job-name={job}"}
        )
        pods: list[Object] = answer.raise_for_status().json()["items"]
        return pods

    def end(self, pod: Object, phase: str, message: Object | None = None) -> None:
        """Say what a kubelet would say of a pod that ended."""
        code = 0 if phase == "Succeeded" else 1
        terminated = {"exitCode": code, "reason": phase, "message": json.dumps(message) if message else ""}
        container = pod["spec"]["containers"][0]
        status = {
            "phase": phase,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        path = self.path("pods", pod["metadata"]["name"], prefix="/api/v1/namespaces")
        self.client.patch(
            f"{path}/status", json={"status": status}, headers={"Content-Type": "application/merge-patch+json"}
        ).raise_for_status()


def _core(plural: str) -> str:
    return "/api/v1/namespaces" if plural == "persistentvolumeclaims" else ""


class Operator:
    """``python -m modelyard.app`` for one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str, log: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "MODELYARD_NAMESPACES": namespace}
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.app"],
                env={**self._environment, "MODELYARD_PROBE_PORT": str(port)},
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


@pytest.fixture
def cluster(client: httpx.Client, namespace: str, crds: list[Object]) -> Cluster:
    """The namespace of a test, with our kinds served."""
    return Cluster(client, namespace)


@pytest.fixture
def operator(cluster: Cluster, api_server: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    """A running operator."""
    operator = Operator(api_server.kubeconfig, cluster.namespace, tmp_path / "operator.log")
    operator.start()
    yield operator
    operator.stop()
    print((tmp_path / "operator.log").read_text())  # noqa: T201  pytest shows it where the test failed


def sources(cluster: Cluster) -> None:
    """What the training of these tests refers to."""
    cluster.create("configmaps", {"metadata": {"name": "code"}, "data": {"train.py": "pass"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create("persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": claim})


def training(cluster: Cluster, **spec: Any) -> Object:
    """A TrainingJob ``digits`` of two pods."""
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits"},
        "spec": {
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py"},
            "nodes": 2,
            "output": {"uri": "pvc://models/digits"},
            **spec,
        },
    }
    return cluster.create("trainingjobs", body)


def two_pods(cluster: Cluster, job: str) -> list[Object]:
    until(lambda: len(cluster.pods(job)) == 2, f"the Job controller makes the pods of {job}")
    return sorted(cluster.pods(job), key=lambda pod: str(pod["metadata"]["name"]))


def test_a_training_gets_its_children_and_an_honest_status(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    assert set(cluster.children()) == {
        "services/digits-train",
        "configmaps/digits-train-code",
        "configmaps/digits-train-1-run",
        "jobs/digits-train-1",
    }
    until(lambda: cluster.status("trainingjobs", "digits").get("attempt") == 1, "a status")
    found = cluster.get("trainingjobs", "digits")
    assert found is not None
    assert (found["status"]["observedGeneration"], found["status"]["state"]) == (1, "Starting")
    assert {"finalizers", "annotations"} & set(found["metadata"]) == set()


def test_a_missing_config_map_is_named_and_waited_for(cluster: Cluster, operator: Operator) -> None:
    training(cluster)
    until(lambda: cluster.condition("trainingjobs", "digits", "Accepted").get("status") == "False", "a refusal")
    accepted = cluster.condition("trainingjobs", "digits", "Accepted")
    assert accepted["reason"] == "ConfigMapNotFound"
    assert "spec.code.configMap: ConfigMap 'code' not found" in accepted["message"]
    assert cluster.children() == {}
    sources(cluster)
    two_pods(cluster, "digits-train-1")


def test_a_child_that_is_deleted_or_edited_is_put_back(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    service = cluster.get("services", "digits-train")
    assert service is not None
    cluster.client.delete(cluster.path("services", "digits-train")).raise_for_status()

    def again() -> bool:
        now = cluster.get("services", "digits-train")
        return now is not None and now["metadata"]["uid"] != service["metadata"]["uid"]

    until(again, "the Service is back")
    edit = {"data": {"run.json": "{}"}}
    path = cluster.path("configmaps", "digits-train-1-run")
    cluster.client.patch(path, json=edit, headers={"Content-Type": "application/merge-patch+json"}).raise_for_status()

    def mended() -> bool:
        config = cluster.get("configmaps", "digits-train-1-run")
        return config is not None and config["data"]["run.json"] != "{}"

    until(mended, "the edit is undone")


def test_a_chain_goes_from_digest_to_digest(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    compression = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "CompressionJob",
        "metadata": {"name": "digits-int8"},
        "spec": {"source": {"trainingJob": {"name": "digits"}}, "output": {"uri": "pvc://models/int8"}},
    }
    service = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "digits"},
        "spec": {"model": {"compressionJob": {"name": "digits-int8"}}},
    }
    cluster.create("compressionjobs", compression)
    cluster.create("modelservices", service)
    first, second = two_pods(cluster, "digits-train-1")
    cluster.end(
        first, "Succeeded", {"outcome": "Succeeded", "reason": "Completed", "message": "", "artifact": PUBLISHED}
    )
    cluster.end(second, "Succeeded")
    until(lambda: cluster.condition("trainingjobs", "digits", "Complete").get("status") == "True", "training complete")
    until(lambda: len(cluster.pods("digits-int8-compress")) == 1, "the compressor's pod")
    assert cluster.status("compressionjobs", "digits-int8")["source"]["digest"] == PUBLISHED["digest"]
    [pod] = cluster.pods("digits-int8-compress")
    compressed = {**PUBLISHED, "digest": f"sha256:{64 * '2'}"}
    cluster.end(
        pod, "Succeeded", {"outcome": "Succeeded", "reason": "Completed", "message": "", "artifact": compressed}
    )
    until(lambda: cluster.status("modelservices", "digits").get("candidate") is not None, "a candidate")
    assert cluster.status("modelservices", "digits")["model"]["digest"] == compressed["digest"]
    assert any(name.startswith("deployments/digits-serve-") for name in cluster.children())
    assert cluster.condition("modelservices", "digits", "Ready")["status"] == "False"


def test_a_lost_pod_is_a_new_attempt(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster, restart={"backoffSeconds": 0})
    first, _ = two_pods(cluster, "digits-train-1")
    failed = {"outcome": "Failed", "reason": "ProcessError", "message": "rank 0: ValueError: x", "rank": 0}
    cluster.end(first, "Failed", failed)
    until(lambda: len(cluster.pods("digits-train-2")) == 2, "the pods of the next attempt")
    restarts = cluster.status("trainingjobs", "digits")["restarts"]
    assert (restarts["counted"], restarts["last"]["reason"], restarts["last"]["rank"]) == (1, "ProcessError", 0)


def test_a_killed_operator_catches_up_and_changes_nothing_that_is_right(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    until(lambda: cluster.status("trainingjobs", "digits").get("attempt") == 1, "a status")
    before = cluster.children()
    operator.stop(signal.SIGKILL)
    cluster.client.delete(cluster.path("services", "digits-train")).raise_for_status()
    operator.start()
    until(lambda: cluster.get("services", "digits-train") is not None, "the Service is back")
    after = cluster.children()
    del before["services/digits-train"], after["services/digits-train"]
    assert after == before


def test_a_deleted_object_takes_its_children_also_without_an_operator(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    operator.stop()
    cluster.client.delete(cluster.path("trainingjobs", "digits")).raise_for_status()
    until(lambda: cluster.children() == {}, "the garbage collector has been here")
    assert cluster.get("trainingjobs", "digits") is None
