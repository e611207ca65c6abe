"""What the tests of the operator do: objects in a namespace, the pods' kubelet, and the operator as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from waiting import until

Object = dict[str, Any]
T = TypeVar("T")
OURS = "/apis/modelyard.dev/v1alpha1/namespaces"
CHILDREN = ("configmaps", "services", "jobs", "deployments", "horizontalpodautoscalers")
PREFIXES = {
    **dict.fromkeys(("configmaps", "services", "pods", "persistentvolumeclaims"), "/api/v1/namespaces"),
    "jobs": "/apis/batch/v1/namespaces",
    "deployments": "/apis/apps/v1/namespaces",
    "horizontalpodautoscalers": "/apis/autoscaling/v2/namespaces",
    "leases": "/apis/coordination.k8s.io/v1/namespaces",
    "events": "/apis/events.k8s.io/v1/namespaces",
}
PUBLISHED = {"uri": "pvc://models/digits/sha256-000000000000", "digest": f"sha256:{64 * '1'}", "sizeBytes": 7}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Cluster:
    """What a test does in its namespace."""

    def __init__(self, client: httpx.Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    def path(self, plural: str, name: str = "") -> str:
        base = PREFIXES.get(plural, OURS)
        return f"{base}/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, plural: str, body: Object) -> Object:
        created: Object = self.client.post(self.path(plural), json=body).raise_for_status().json()
        return created

    def delete(self, plural: str, name: str) -> None:
        self.client.delete(self.path(plural, name)).raise_for_status()

    def patch(self, plural: str, name: str, body: Object) -> None:
        self.client.patch(self.path(plural, name), json=body, headers=MERGE).raise_for_status()

    def get(self, plural: str, name: str) -> Object | None:
        answer = self.client.get(self.path(plural, name))
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
        return self.labelled(f"job-name={job}")

    def labelled(self, selector: str) -> list[Object]:
        """Pods by a label selector."""
        answer = self.client.get(self.path("pods"), params={"labelSelector": selector})
        pods: list[Object] = answer.raise_for_status().json()["items"]
        return pods

    def run(self, pod: Object) -> None:
        """Say what a kubelet would say of a pod that runs and is ready."""
        container = pod["spec"]["containers"][0]
        started = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        said = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{**said, "ready": True, "state": started}],
        }
        self.patch("pods", f"{pod['metadata']['name']}/status", {"status": status})

    def history(self, kind: str, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and note of the object's Events, the oldest first."""
        answer = self.client.get(self.path("events"))
        events: list[Object] = answer.raise_for_status().json()["items"]
        events.sort(key=lambda event: str(event["eventTime"]))
        return [
            (event["type"], event["reason"], event["note"])
            for event in events
            if (event["regarding"]["kind"], event["regarding"]["name"]) == (kind, name)
        ]

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
        self.patch("pods", f"{pod['metadata']['name']}/status", {"status": status})


class Operator:
    """``python -m modelyard.app`` for one namespace, as a process that a test starts and ends."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        folder: Path,
        identity: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """With ``identity``, it works only while it holds the Lease of that namespace. ``environment`` wins."""
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "MODELYARD_NAMESPACES": namespace,
            "MODELYARD_LEASE_NAMESPACE": namespace if identity else "",
            "MODELYARD_IDENTITY": identity,
            **(environment or {}),
        }
        self._log = folder / f"operator{identity}.log"
        self.port = 0
        """Where the probes are answered since the last start."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.port, self._metrics_port = one.getsockname()[1], other.getsockname()[1]
        ports = {"MODELYARD_PROBE_PORT": str(self.port), "MODELYARD_METRICS_PORT": str(self._metrics_port)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.app"],
                env={**self._environment, **ports},
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, which an ended process never gets; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def metrics(self) -> dict[str, float]:
        """What it counts, by name and labels; nothing while it does not serve them."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self._metrics_port}/metrics").raise_for_status().text
        except httpx.TransportError:
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def fresh_namespace(
    client: httpx.Client, prefix: str = "test", labels: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The name of a namespace in which pods can be created; at the end it goes, which nobody waits for."""
    body = {"metadata": {"generateName": f"{prefix}-", "labels": dict(labels or {})}}
    name: str = client.post("/api/v1/namespaces", json=body).raise_for_status().json()["metadata"]["name"]
    path = f"/api/v1/namespaces/{name}"
    # Made by controllers; until then pods are refused, or wait for volumes.
    made = [f"{path}/serviceaccounts/default", f"{path}/configmaps/kube-root-ca.crt"]
    try:
        until(lambda: all(client.get(each).is_success for each in made), f"{made}", seconds=60)
        yield name
    finally:
        client.delete(path).raise_for_status()


@contextmanager
def running(operator: Operator, number: signal.Signals = signal.SIGTERM) -> Iterator[Operator]:
    """The operator, started; at the end the signal is sent to it, and its log shown where the test failed."""
    operator.start()
    try:
        yield operator
    finally:
        operator.stop(number)
        print(operator.log())  # noqa: T201  pytest shows it


def sources(cluster: Cluster) -> None:
    """What the training of these tests refers to; the code last, so that nothing else is ever missing."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create("persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": claim})
    cluster.create("configmaps", {"metadata": {"name": "code"}, "data": {"train.py": "pass"}})


def training(cluster: Cluster, *, name: str = "digits", **spec: Any) -> Object:
    """A TrainingJob of two pods."""
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py"},
            "nodes": 2,
            "output": {"uri": "pvc://models/digits"},
            **spec,
        },
    }
    return cluster.create("trainingjobs", body)


def surplus(place: Cluster) -> None:
    """One child of each type that nobody asked for."""
    job = place.get("trainingjobs", "digits")
    assert job is not None
    labels = {"modelyard.dev/kind": "TrainingJob", "modelyard.dev/name": "digits"}
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": "digits", "uid": job["metadata"]["uid"]}
    pod = {"containers": [{"name": "a", "image": "a"}]}
    specs: dict[str, Any] = {
        "configmaps": {},
        "services": {"spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}},
        "jobs": {"spec": {"suspend": True, "template": {"spec": {**pod, "restartPolicy": "Never"}}}},
        "horizontalpodautoscalers": {
            "spec": {"maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}}
        },
        "deployments": {
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
            }
        },
    }
    metadata = {"name": "surplus", "labels": labels, "ownerReferences": [owner]}
    for plural in CHILDREN:
        place.create(plural, {"metadata": metadata, **specs[plural]})


def others(cluster: Cluster) -> None:
    """An object of each other kind, beside the training ``digits``; the service has an autoscaler."""
    specs = {
        "CompressionJob": {"source": {"trainingJob": {"name": "digits"}}, "output": {"uri": "pvc://models/int8"}},
        "ModelService": {
            "model": {"artifact": {"uri": PUBLISHED["uri"], "digest": PUBLISHED["digest"]}},
            "resources": {"limits": {"cpu": "100m"}},
            "autoscaling": {"maxReplicas": 2},
        },
    }
    for kind, spec in specs.items():
        body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": "digits"}, "spec": spec}
        cluster.create(f"{kind.lower()}s", body)


def two_pods(cluster: Cluster, job: str) -> list[Object]:
    until(lambda: len(cluster.pods(job)) == 2, f"the Job controller makes the pods of {job}")
    return sorted(cluster.pods(job), key=lambda pod: str(pod["metadata"]["name"]))


def settled(look: Callable[[], T], seconds: float = 2) -> T:
    """What ``look`` shows once it has been the same for so long."""
    found, since = look(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        if (now := look()) != found:
            found, since = now, time.monotonic()
    return found
