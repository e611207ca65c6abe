"""The pass over all objects of a process cluster."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.api.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, ScaleTarget
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import Container, Pod, PodSpec, PodTemplate
from modelyard.api.workloads import Deployment, DeploymentSpec, LabelSelector
from modelyard.clusters.process.controllers import Controllers
from modelyard.clusters.process.machine import this_machine
from modelyard.clusters.process.node import Node
from modelyard.clusters.process.store import ObjectStore

NOW = datetime(2026, 11, 24, tzinfo=UTC)
WEB = Deployment(
    metadata=ObjectMeta(name="web"),
    spec=DeploymentSpec(
        selector=LabelSelector(match_labels={}),
        template=PodTemplate(spec=PodSpec(containers=[Container(name="c", image="i")])),
    ),
)


@pytest.fixture
async def store(tmp_path: Path) -> ObjectStore:
    store = ObjectStore(tmp_path / "objects")
    store.put(WEB.key, WEB.to_manifest())
    return store


@pytest.fixture
async def controllers(tmp_path: Path, store: ObjectStore) -> AsyncIterator[Controllers]:
    node = Node(tmp_path, store, this_machine(), frozenset())
    yield Controllers(store, node)
    await node.close()


@pytest.mark.parametrize(("create", "names"), [(True, ["web-0"]), (False, [])])
async def test_what_was_stopped_stays_so_while_only_clearing_away(
    controllers: Controllers, store: ObjectStore, *, create: bool, names: list[str]
) -> None:
    controllers.tick(NOW, create=create)
    assert [pod.metadata.name for pod in store.every(Pod)] == names


async def test_an_autoscaler_keeps_its_least_number_of_pods_and_says_so(
    controllers: Controllers, store: ObjectStore
) -> None:
    target = ScaleTarget(api_version="apps/v1", kind="Deployment", name="web")
    wanted = HorizontalPodAutoscaler(
        metadata=ObjectMeta(name="web"),
        spec=HorizontalPodAutoscalerSpec(scale_target_ref=target, min_replicas=2, max_replicas=9),
    )
    store.put(wanted.key, wanted.to_manifest())
    controllers.tick(NOW, create=True)
    assert [pod.metadata.name for pod in store.every(Pod)] == ["web-0", "web-1"]
    (found,) = store.every(HorizontalPodAutoscaler)
    said = found.condition("ScalingActive")
    assert said is not None
    assert (said.status, said.reason) == ("False", "NotOnThisMachine")
    assert said.message.startswith("this machine runs minReplicas (2) and does not autoscale")
    controllers.tick(NOW, create=True)  # takes note of the pods
    told: list[object] = []
    store.listener = told.append
    controllers.tick(NOW, create=True)
    assert told == []
