"""What the tests of the operator do: objects in a namespace, the pods' kubelet, and the operator as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx

from control_plane import ControlPlane
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
}
PUBLISHED = {"uri": "pvc://models/digits/sha256-000000000000", "digest": f"sha256:{64 * '1'}", "sizeBytes": 7}
CRDS = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
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
        answer = self.client.get(self.path("pods"), params={"labelSelector": f"job-name={job}"})
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
        self.patch("pods", f"{pod['metadata']['name']}/status", {"status": status})


class Operator:
    """``python -m modelyard.app`` for one namespace, as a process that a test starts and ends."""

    def __init__(self, api_server: ControlPlane, namespace: str, folder: Path, identity: str = "") -> None:
        """With ``identity``, it works only while it holds the Lease of that namespace."""
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(api_server.kubeconfig),
            "MODELYARD_NAMESPACES": namespace,
            "MODELYARD_LEASE_NAMESPACE": namespace if identity else "",
            "MODELYARD_IDENTITY": identity,
        }
        self._log = folder / f"operator{identity}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.app"],
                env={**self._environment, "MODELYARD_PROBE_PORT": str(port)},
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, which an ended process never gets; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def log(self) -> str:
        return self._log.read_text()


def sources(cluster: Cluster) -> None:
    """What the training of these tests refers to."""
    cluster.create("configmaps", {"metadata": {"name": "code"}, "data": {"train.py": "pass"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create("persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": claim})


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


def served(client: httpx.Client, path: Path) -> Object:
    """Apply the CRD in a file; returns it once its objects are served."""
    name = path.stem.removeprefix("modelyard.dev_") + ".modelyard.dev"
    url = f"{CRD_PATH}/{name}"
    client.patch(
        url,
        params={"fieldManager": "test"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=path.read_bytes(),
    ).raise_for_status()

    def shown() -> Object | None:
        crd: Object = client.get(url).raise_for_status().json()
        conditions = {each["type"]: each["status"] for each in crd["status"].get("conditions") or []}
        objects = f"/apis/{crd['spec']['group']}/{crd['spec']['versions'][0]['name']}/{crd['spec']['names']['plural']}"
        is_served = conditions.get("Established") == "True" and client.get(objects).status_code == HTTPStatus.OK
        return crd if is_served else None

    return until(shown, f"{name} served")
