"""The limit: the applies that an operator cannot do without, in a loop of ``kubernetes.aio`` and nothing else."""

import time

from bench_cluster import BenchCluster, spread, training
from modelyard.api.children import Children
from modelyard.api.metadata import JsonObject, KubeObject
from modelyard.api.settings import Settings
from modelyard.app import WORKERS
from modelyard.clusters.kube.resources import resource_types
from modelyard.kinds import KINDS
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

APPLY_PATCH = "application/apply-patch+yaml"
"""With this very text, ``kubernetes.aio`` takes the body as it is and makes JSON of it."""


async def apply_children(cluster: BenchCluster, namespace: str, objects: int) -> tuple[float, int]:
    """Apply the children of so many TrainingJobs, owned by nothing; returns the seconds and the number of calls."""
    resources = resource_types(KINDS)
    manifests = [
        [(resources[child.kind].path(child.key), child.to_manifest()) for child in _children(namespace, f"bare-{n:05}")]
        for n in range(objects)
    ]
    api = await cluster.operator_api()

    async def one(number: int) -> None:
        for path, manifest in manifests[number]:
            parameters = await api.param_serialize(
                method="PATCH",
                resource_path=path,
                query_params=[("fieldManager", "modelyard"), ("force", "true")],
                header_params={"Accept": "application/json", "Content-Type": APPLY_PATCH},
                body=manifest,
                auth_settings=["BearerToken"],
            )
            response = await api.call_api(*parameters)
            text = await response.read()
            assert response.status == 201, text

    async with api:
        began = time.monotonic()
        await spread(one, objects, WORKERS)  # as many at a time as the operator
        seconds = time.monotonic() - began
    return seconds, sum(map(len, manifests))


def _children(namespace: str, name: str) -> list[KubeObject]:
    body = training(name)
    body["metadata"] = {"name": name, "namespace": namespace, "uid": 36 * "0"}
    job = TrainingJob.model_validate(body)
    code: JsonObject = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code", "namespace": namespace},
        "data": {"train.py": "print('trained')\n" * 60},
    }
    sources = {reference.key: code for reference in KIND.references(job)}
    return list(KIND.desired(job, sources, Children(), Settings()))
