"""The benchmark's own API server, with its controllers and no node, and what is created there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml
from kubernetes.aio import client, config

import audit
from control_plane import ControlPlane
from modelyard.api.metadata import JsonObject
from modelyard.clusters.kube.client import APPLY, ApiError, KubeClient

ROOT = Path(__file__).parents[2]
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
SYSTEM = "modelyard-system"
OURS = "/apis/modelyard.dev/v1alpha1/namespaces"
CREATORS = 8
"""So many objects are created at the same time; the benchmark is not what limits."""

T = TypeVar("T")


class BenchCluster:
    """One control plane whose audit log tells what its users asked."""

    def __init__(self, folder: Path, kubebox: Path) -> None:
        self._folder = folder
        self._control_plane = ControlPlane(folder / "cluster", kubebox, dies_with_parent=True)
        self._audit = folder / "audit.log"
        self.operator_user = f"system:serviceaccount:{SYSTEM}:modelyard"
        self.operator_kubeconfig = folder / "operator.kubeconfig"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["BenchCluster"]:
        """From nothing to served CRDs and an account for the operator; nothing is left afterwards."""
        self._control_plane.down()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._audit.write_bytes(b"")
        policy = self._folder / "audit-policy.json"
        policy.write_text(json.dumps(audit.policy([self.operator_user])))
        flags = {
            "audit-policy-file": str(policy.resolve()),
            "audit-log-path": str(self._audit.resolve()),
            "audit-log-mode": "batch",
        }
        try:
            self._control_plane.up(api_server_flags=flags)
            admin = await config.new_client_from_config(str(self._control_plane.kubeconfig))
            async with KubeClient(admin) as self.admin:
                await self._serve_crds()
                await self._account()
                self.log = audit.AuditLog(self._audit)
                yield self
        finally:
            self._control_plane.down()

    async def operator_api(self) -> client.ApiClient:
        """The plain client of ``kubernetes.aio``, with the operator's account."""
        api: client.ApiClient = await config.new_client_from_config(str(self.operator_kubeconfig))
        return api

    async def namespace(self, name: str) -> None:
        """A namespace with the code and the claim that its TrainingJobs refer to."""
        await self.admin.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        base = f"/api/v1/namespaces/{name}"
        # Made by a controller; until then every pod is refused.
        await until(lambda: self._exists(f"{base}/serviceaccounts/default"), f"a service account in {name}")
        code: JsonObject = {"metadata": {"name": "code"}, "data": {"train.py": "print('trained')\n" * 60}}
        await self.admin.request("POST", f"{base}/configmaps", body=code)
        claim: JsonObject = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        body: JsonObject = {"metadata": {"name": "models"}, "spec": claim}
        await self.admin.request("POST", f"{base}/persistentvolumeclaims", body=body)

    async def create(self, namespace: str, names: Sequence[str], rate: float = 0.0) -> None:
        """TrainingJobs of these names, at once or so many a second."""
        began = time.monotonic()

        async def one(number: int) -> None:
            if rate:
                await asyncio.sleep(began + number / rate - time.monotonic())
            await self.admin.request("POST", f"{OURS}/{namespace}/trainingjobs", body=training(names[number]))

        await spread(one, len(names), 64 if rate else CREATORS)

    async def set_status(self, namespace: str, names: Sequence[str], status: JsonObject) -> None:
        """Write the status of TrainingJobs, as the operator would."""

        async def one(number: int) -> None:
            name = names[number]
            body: JsonObject = {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": name},
                "status": status,
            }
            path = f"{OURS}/{namespace}/trainingjobs/{name}/status"
            query = {"fieldManager": "modelyard", "force": "true"}
            await self.admin.request("PATCH", path, query=query, body=body, content_type=APPLY)

        await spread(one, len(names), CREATORS)

    async def count(self, namespace: str, plural: str) -> int:
        """How many there are, for the price of one."""
        base = {"jobs": "/apis/batch/v1/namespaces"}.get(plural, "/api/v1/namespaces")
        answer = await self.admin.request("GET", f"{base}/{namespace}/{plural}", query={"limit": "1"})
        items, metadata = answer["items"], answer["metadata"]
        assert isinstance(items, list)
        assert isinstance(metadata, dict)
        rest = metadata.get("remainingItemCount", 0)
        assert isinstance(rest, int)
        return len(items) + rest

    async def run_pods(self, namespace: str) -> None:
        """Until cancelled, be the scheduler and the kubelet of all pods: each has a node and is ready at once."""
        told: set[str] = set()
        while True:
            answer = await self.admin.request("GET", f"/api/v1/namespaces/{namespace}/pods")
            items = answer["items"]
            assert isinstance(items, list)
            for pod in items:
                assert isinstance(pod, dict)
                metadata = pod["metadata"]
                assert isinstance(metadata, dict)
                name = str(metadata["name"])
                if name not in told:
                    await self.admin.request(
                        "PATCH",
                        f"/api/v1/namespaces/{namespace}/pods/{name}/status",
                        body={"status": running_status()},
                        content_type="application/merge-patch+json",
                    )
                    told.add(name)
            await asyncio.sleep(1)

    async def _serve_crds(self) -> None:
        for path in CRDS:
            crd: JsonObject = yaml.safe_load(path.read_text())
            metadata = crd["metadata"]
            assert isinstance(metadata, dict)
            name = str(metadata["name"])
            url = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
            await self.admin.request("PATCH", url, query={"fieldManager": "benchmark"}, body=crd, content_type=APPLY)
            await until(partial(self._exists, f"{OURS.rpartition('/')[0]}/{name.partition('.')[0]}"), f"{name} served")

    async def _account(self) -> None:
        """An account that may do everything, and a kubeconfig with its token."""
        await self.admin.request("POST", "/api/v1/namespaces", body={"metadata": {"name": SYSTEM}})
        accounts = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts"
        await self.admin.request("POST", accounts, body={"metadata": {"name": "modelyard"}})
        binding: JsonObject = {
            "metadata": {"name": "modelyard"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "modelyard", "namespace": SYSTEM}],
        }
        await self.admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body=binding)
        answer = await self.admin.request(
            "POST", f"{accounts}/modelyard/token", body={"spec": {"expirationSeconds": 86400}}
        )
        granted = answer["status"]
        assert isinstance(granted, dict)
        kubeconfig = json.loads(self._control_plane.kubeconfig.read_text())
        kubeconfig["users"][0]["user"] = {"token": granted["token"]}
        self.operator_kubeconfig.touch(mode=0o600)
        self.operator_kubeconfig.write_text(json.dumps(kubeconfig))

    async def _exists(self, path: str) -> bool:
        try:
            await self.admin.request("GET", path)
        except ApiError:
            return False
        return True


def training(name: str) -> JsonObject:
    """A TrainingJob of one pod with code and an output: four children."""
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "code": {"configMap": {"name": "code"}},
            "entrypoint": {"script": "train.py", "args": ["--epochs", "3"]},
            "output": {"uri": "pvc://models/digits"},
        },
    }


def running_status() -> JsonObject:
    """What scheduler and kubelet say of a pod that runs."""
    conditions: list[JsonObject] = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
    return {"phase": "Running", "conditions": [*conditions]}


async def spread(one: Callable[[int], Awaitable[None]], count: int, workers: int) -> None:
    """``one`` for each number below ``count``, so many at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work())


async def until(look: Callable[[], Awaitable[T]], what: str, seconds: float = 60, wait: float = 0.1) -> T:
    """The first true answer of ``look``. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {seconds} s: {what}")
        await asyncio.sleep(wait)
    return found
