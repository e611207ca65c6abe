"""Faults of a training on a real node. One of each class in ``make test``; the whole list in ``make test-faults``."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from installed import SYSTEM, Kubectl, Place, place
from node_stage import NodeStage
from scenarios import ANYWHERE, last, survived

MEMORY = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
SHORT = (
    "rank_killed_and_started_in_place", "pod_0_lost", "suspended_twice", "elastic_3_2_3", "drained", "out_of_memory",
    "storage_gone_during_a_checkpoint",
)  # fmt: skip
"""One fault of each class."""
ALL = bool(os.environ.get("MODELYARD_ALL_FAULTS"))


def drained(stage: NodeStage) -> None:
    """The node is cordoned, and its pods evicted, as ``kubectl drain`` does."""
    stage.start("--pace", "0.1")
    stage.until_trained()
    kubectl = stage.place.kubectl
    [node] = {pod["spec"]["nodeName"] for pod in stage.pods(1)}
    kubectl("cordon", node)
    try:
        for pod in stage.pods(1):
            evict(stage.place, pod["metadata"]["name"])
        stage.until_state("Pending")
    finally:
        kubectl("uncordon", node)
    status = survived(stage, restarts=0)
    assert (last(status)["reason"], status["restarts"]["counted"]) == ("Preempted", 0)


def evict(here: Place, pod: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    here.cluster.client.post(f"{here.cluster.path('pods', pod)}/eviction", json=body).raise_for_status()


def out_of_memory(stage: NodeStage) -> None:
    stage.start("--once", "oom", "--at", "14", "--rank", "1", resources=MEMORY, restart={"processRestarts": 0})
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"]) == (2, "OOMKilled"), last(status)
    assert "resources.limits" in last(status)["message"]


def operator_killed(stage: NodeStage) -> None:
    """Nothing happens to the training; and a rank killed meanwhile is seen when the operator is back."""
    stage.start("--pace", "0.1")
    stage.until_trained()
    system = stage.place.kubectl.of(SYSTEM)
    system("delete", "pod", "--selector", "app.kubernetes.io/component=operator", "--force", "--wait=false")
    stage.kill_rank(2)
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"]) == (2, "ProcessError")


def storage_gone_during_a_checkpoint(stage: NodeStage) -> None:
    """Checkpoints fail for a while; the training goes on, and they are taken again once the storage is back."""
    stage.start("--pace", "0.1")
    stage.until_trained()
    folder = stage.volume() / "checkpoints"
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("")  # a file where a folder is needed: every write fails
    steps = len(stage.record().splitlines())
    stage.until(lambda: len(stage.record().splitlines()) > steps + 12, "it trains without storage")
    folder.unlink()
    away.rename(folder)
    status = survived(stage, restarts=0)
    assert status["attempt"] == 1


def storage_gone_during_publishing(stage: NodeStage) -> None:
    """The artefact cannot be stored: the next attempt starts from the last checkpoint, not from the beginning."""
    stage.start()
    stage.until_trained()
    (stage.volume() / "out").write_text("")
    stage.until(lambda: stage.status().get("attempt", 1) > 1, "the attempt fails")
    (stage.volume() / "out").unlink()
    status = survived(stage)
    assert last(status)["checkpointStep"] >= 55, last(status)


def full_claim(stage: NodeStage) -> None:
    """A claim without room ends the job, with the remedy: another attempt would only fill it again."""
    stage.claim()
    stage.until(lambda: stage.volume().is_dir(), "the claim has its volume")
    with small_disk(stage.volume()):
        stage.start("--pace", "0.1")
        stage.until_trained()
        with (stage.volume() / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        stage.until_state("Failed")
        failed = next(each for each in stage.status()["conditions"] if each["type"] == "Failed")
        assert failed["reason"] == "StorageFull", failed
        stage.place.kubectl("delete", "tjob", "--all")
        stage.until(lambda: not stage.pods(1), "the pods are gone")


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of a quarter of a megabyte at that folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def bad_image(stage: NodeStage) -> None:
    stage.start(image="127.0.0.1:1/no/such:image", startDeadlineSeconds=20)
    status = stage.until_state("Failed")
    failed = next(each for each in status["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "StartDeadlineExceeded"
    assert "no/such" in failed["message"]


ON_A_NODE: Mapping[str, Callable[[NodeStage], None]] = {
    **ANYWHERE,
    **{
        scenario.__name__: scenario
        for scenario in (
            drained, out_of_memory, operator_killed, storage_gone_during_a_checkpoint, storage_gone_during_publishing,
            full_claim, bad_image,
        )
    },
}  # fmt: skip


@pytest.fixture
def stage(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[NodeStage]:
    with place(client, kubectl, "faults") as here:
        yield NodeStage(here)


@pytest.mark.parametrize("scenario", ON_A_NODE if ALL else SHORT)
def test_a_training_survives(scenario: str, stage: NodeStage) -> None:
    ON_A_NODE[scenario](stage)
