"""Each fault, and what must hold after it: the same loss as without, no step missing, few made again."""

from collections.abc import Callable, Mapping

import pytest

from stages import Object, Stage
from survivor import INTERVAL, STEPS, loss_without_faults

AGAIN = 2 * INTERVAL
"""Steps that a restart may cost: those since the last checkpoint, and where that was still being written, one more
interval."""


def survived(stage: Stage, *, restarts: int = 1) -> Object:
    """Wait for the end; the result must be what it is without faults. Returns the status."""
    status = stage.until_state("Complete")
    metrics = {name: float(value) for name, value in status["artifact"]["metrics"].items()}
    assert metrics["missing"] == 0
    assert 0 <= metrics["again"] <= AGAIN * restarts, stage.record()
    assert metrics["loss"] == pytest.approx(loss_without_faults(), rel=1e-3)
    return status


def last(status: Object) -> Object:
    """The newest restart of the gang."""
    found: Object = status["restarts"]["last"]
    return found


def rank_killed(stage: Stage) -> None:
    stage.start()
    stage.until_trained()
    stage.kill_rank(2)
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"], last(status)["rank"]) == (2, "ProcessError", 2)
    assert "SIGKILL" in last(status)["message"]
    assert last(status)["recoverySeconds"] >= 0


def rank_killed_and_started_in_place(stage: Stage) -> None:
    stage.start(restart={"processRestarts": 2})
    stage.until_trained()
    stage.kill_rank(1)
    status = survived(stage)
    assert (status["attempt"], status["restarts"]["inPlace"]) == (1, 1)
    assert status["restarts"]["lastInPlace"]["rank"] == 1


def worker_pod_lost(stage: Stage) -> None:
    stage.start()
    stage.until_trained()
    stage.lose_pod(1, 1)
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"]) == (2, "PodLost")


def pod_0_lost(stage: Stage) -> None:
    stage.start()
    stage.until_trained()
    stage.lose_pod(1, 0)
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"]) == (2, "PodLost")


def rank_hangs(stage: Stage) -> None:
    stage.start("--once", "hang", "--at", "14", "--rank", "3", progress={"stallTimeoutSeconds": 5})
    status = survived(stage)
    assert (status["attempt"], last(status)["reason"], last(status)["rank"]) == (2, "Stalled", 3)
    assert "misbehave" in last(status)["message"] or "train.py" in last(status)["message"], last(status)["message"]


def script_error_on_one_rank(stage: Stage) -> None:
    stage.start("--always", "raise", "--at", "14", "--rank", "1", restart={"backoffSeconds": 0, "processRestarts": 1})
    stage.until_state("Failed")
    status = stage.status()
    failed = next(each for each in status["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "ProcessError"
    assert "rank 1: ValueError: the data is broken" in failed["message"]
    assert status["attempt"] <= 2


def suspended_twice(stage: Stage) -> None:
    stage.start("--pace", "0.1")
    for attempt in (1, 2):
        stage.until_trained(attempt, steps=12 if attempt == 1 else 30)
        stage.edit(suspend=True)
        status = stage.until_state("Suspended")
        assert all(pod["status"]["phase"] in ("Failed", "Succeeded") for pod in stage.pods(attempt))
        stage.edit(suspend=False)
    status = survived(stage, restarts=0)
    assert (status["attempt"], status["restarts"]["counted"], status["restarts"]["uncounted"]) == (3, 0, 0)


def elastic_3_2_3(stage: Stage) -> None:
    """A lost pod is replaced; meanwhile the others go on."""
    stage.start(
        "--steps", "1000000", "--until-told",
        nodes=3, procsPerNode=1, elastic={"minNodes": 2, "maxNodes": 3, "joinWindowSeconds": 2},
    )  # fmt: skip
    stage.until_trained()
    stage.lose_pod(1, 2)
    stage.until_world(2)
    stage.until_world(3)
    survived_in_one_attempt(stage)


def elastic_resized(stage: Stage) -> None:
    stage.start(
        "--steps", "1000000", "--until-told",
        nodes=2, procsPerNode=1, elastic={"minNodes": 1, "maxNodes": 3, "joinWindowSeconds": 2},
    )  # fmt: skip
    stage.until_trained()
    stage.edit(nodes=3)
    stage.until_world(3)
    stage.edit(nodes=2)
    stage.until_world(2)
    survived_in_one_attempt(stage)


def survived_in_one_attempt(stage: Stage) -> None:
    """Have the training end; the result must be what it is without faults."""
    (stage.volume() / "finish").touch()
    status = stage.until_state("Complete")
    assert status["attempt"] == 1
    metrics = {name: float(value) for name, value in status["artifact"]["metrics"].items()}
    assert metrics["missing"] == 0
    # Gradients of other numbers of ranks are added up in another order.
    assert metrics["loss"] == pytest.approx(loss_without_faults(int(metrics["steps"])), rel=1e-2, abs=1e-6)


def impossible_request(stage: Stage) -> None:
    stage.start(resources={"requests": {"cpu": "512"}}, startDeadlineSeconds=8)
    stage.until_state("Pending")
    stage.until_state("Failed")
    failed = next(each for each in stage.status()["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "StartDeadlineExceeded"
    assert "resources" in failed["message"]
    assert all(pod["status"]["phase"] != "Running" for pod in stage.pods(1))


ANYWHERE: Mapping[str, Callable[[Stage], None]] = {
    scenario.__name__: scenario
    for scenario in (
        rank_killed, rank_killed_and_started_in_place, worker_pod_lost, pod_0_lost, rank_hangs,
        script_error_on_one_rank, suspended_twice, elastic_3_2_3, elastic_resized, impossible_request,
    )
}  # fmt: skip
assert STEPS > 4 * INTERVAL, "else there is no time between a checkpoint and the end"
