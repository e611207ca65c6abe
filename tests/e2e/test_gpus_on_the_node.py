"""Pods that ask for a GPU: where a node offers one, and where none does."""

from collections.abc import Iterator

import httpx
import pytest

from installed import Kubectl, Place, place
from operators import Object, sources
from waiting import until

GPU = "nvidia.com/gpu"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
CAPACITY = "/status/capacity/nvidia.com~1gpu"


@pytest.fixture
def here(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[Place]:
    with place(client, kubectl, "gpu") as here:
        sources(here.cluster)
        here.cluster.patch("configmaps", "code", {"data": {"train.py": "print('trained')"}})
        yield here


@pytest.fixture
def gpus(client: httpx.Client, node: str) -> Iterator[None]:
    """The node says that it has two GPUs, as a device plugin would make it say."""
    path = f"/api/v1/nodes/{node}/status"
    add = [{"op": "add", "path": CAPACITY, "value": "2"}]
    client.patch(path, json=add, headers=JSON_PATCH).raise_for_status()

    def offered() -> bool:
        return GPU in client.get(f"/api/v1/nodes/{node}").raise_for_status().json()["status"]["allocatable"]

    until(offered, "the node offers GPUs", seconds=60)
    yield
    client.patch(path, json=[{"op": "remove", "path": CAPACITY}], headers=JSON_PATCH).raise_for_status()


def wants_gpu(kind: str, **spec: object) -> Object:
    accelerator = {"type": GPU, "count": 1}
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "gpu"},
        "spec": {"accelerator": accelerator, **spec},
    }


TRAINING = wants_gpu("TrainingJob", code={"configMap": {"name": "code"}}, entrypoint={"script": "train.py"})
SERVICE = wants_gpu("ModelService", model={"artifact": {"uri": "pvc://models/none", "digest": f"sha256:{64 * '1'}"}})


def test_without_a_gpu_the_status_says_so_and_names_the_remedy(here: Place) -> None:
    here.apply(TRAINING, SERVICE)
    for plural in ("trainingjobs", "modelservices"):

        def told(plural: str = plural) -> bool:
            conditions = here.cluster.status(plural, "gpu").get("conditions", [])
            return any(each["reason"] == "Unschedulable" and GPU in each["message"] for each in conditions)

        until(told, f"{plural}: Unschedulable")
        message = here.cluster.status(plural, "gpu")["message"]
        assert "spec.accelerator" in message, message


def test_with_gpus_both_land_on_the_node(here: Place, gpus: None, node: str) -> None:
    here.apply(TRAINING, SERVICE)

    for kind in ("TrainingJob", "ModelService"):

        def landed(selector: str = f"modelyard.dev/kind={kind}") -> bool:
            nodes = here.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].spec.nodeName}")
            return nodes.split() == [node]

        until(landed, f"the pod of the {kind} is on {node}", seconds=60)
    here.wait("trainingjobs", "gpu", "Complete", seconds=120)
