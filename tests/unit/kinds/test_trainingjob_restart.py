import pytest

from kind_stories import DIGEST, READY, Story, ended, failure
from modelyard.api.pods import PodCondition, PodStatus
from modelyard.api.workloads import Job
from modelyard.contract.reports import Termination
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

NAN = failure("ProcessError", "ValueError: loss is NaN", rank=3)


@pytest.fixture
def story() -> Story[TrainingJob]:
    """A job whose first attempt runs on two pods."""
    return running("{maxRestarts: 3, backoffSeconds: 5}")


def running(restart: str) -> Story[TrainingJob]:
    found = Story(KIND, f"{{entrypoint: {{module: train}}, nodes: 2, restart: {restart}}}")
    found.visit()
    found.run(found.child(Job, "digits-train-1"), READY, READY)
    found.visit(1)
    return found


def fail(story: Story[TrainingJob], *statuses: PodStatus) -> None:
    """The current attempt fails with these pods, and is seen to."""
    name = f"digits-train-{story.resource.status.attempt}"
    story.run(story.child(Job, name), *statuses)
    story.job_says(name, "Failed")
    story.visit(1)


def fail_with(story: Story[TrainingJob], said: Termination) -> None:
    fail(story, ended(said), ended(failure("PeerLost", "gone")))


def next_attempt(story: Story[TrainingJob]) -> None:
    """Wait until the restart is due, and for the visit that follows from the status."""
    story.visit(story.revisit() or 0)
    story.visit()


def state(story: Story[TrainingJob]) -> str:
    return story.resource.status.state


def test_the_next_attempt_does_not_wait_until_the_job_controller_has_looked() -> None:
    story = running("{backoffSeconds: 0}")
    job = story.child(Job, "digits-train-1")
    gone = ended(NAN).model_copy(update={"phase": "Running"})  # as the kubelet says for a second
    story.run(job, gone, READY)
    story.visit(1)
    assert "Job digits-train-2" not in story.names()
    story.run(job, gone, gone)
    story.visit(1)
    story.visit()
    story.visit()
    assert {"Job digits-train-1", "Job digits-train-2"} <= set(story.names())
    assert story.resource.status.attempt == 2


def test_pods_that_all_left_their_node_wait_for_what_the_job_says() -> None:
    story = running("{backoffSeconds: 0}")
    left = PodCondition(type="DisruptionTarget", status="True", reason="NodeShutdown")
    gone = ended(code=143).model_copy(update={"conditions": [left]})
    story.run(story.child(Job, "digits-train-1"), gone, gone)
    story.visit(1)
    assert (state(story), story.resource.status.attempt) == ("Stopped", 1)


def test_a_failed_attempt_restarts_as_a_whole_after_its_pods_are_gone(story: Story[TrainingJob]) -> None:
    story.run(story.child(Job, "digits-train-1"), ended(NAN), READY)
    story.job_says("digits-train-1", "Failed", active=1)
    story.visit(1)
    assert (state(story), story.conditions()["Running"], story.revisit()) == ("Stopping", "False Stopping", None)

    fail_with(story, NAN)
    assert story.resource.status.message == (
        "attempt 1 failed (ProcessError: ValueError: loss is NaN); again in 5 s from the beginning"
    )
    assert (state(story), story.conditions()["Running"], story.revisit()) == ("Restarting", "False ProcessError", 4.0)
    last = story.resource.status.restarts.last
    assert last is not None
    assert last.model_dump(exclude_none=True) == {
        "attempt": 1,
        "reason": "ProcessError",
        "message": "ValueError: loss is NaN",
        "rank": 3,
        "failedAt": "2026-05-01T12:00:02Z",
        "step": 0,
        "lostSteps": 0,
    }

    story.visit(3)
    assert (state(story), "Job digits-train-2" in story.names()) == ("Restarting", False)
    next_attempt(story)
    assert story.names() == [
        "Service digits-train",
        "ConfigMap digits-train-2-run",
        "Job digits-train-2",
        "Job digits-train-1",
        "ConfigMap digits-train-1-run",
    ]
    assert (story.resource.status.message, story.revisit()) == ("attempt 2, 0 of 2 pods run", None)


def test_an_attempt_has_a_rendezvous_of_its_own(story: Story[TrainingJob]) -> None:
    fail_with(story, NAN)
    next_attempt(story)
    env = {each.name: each.value for each in story.child(Job, "digits-train-2").spec.template.spec.containers[0].env}
    assert (env["PET_RDZV_ID"], env["PET_RDZV_ENDPOINT"]) == (
        "uid-1-2",
        "digits-train-2-0.digits-train.default.svc:29400",
    )


def test_the_wait_doubles_with_each_restart_up_to_five_minutes() -> None:
    story = running("{maxRestarts: 9, backoffSeconds: 20}")
    waits = []
    for number in range(6):
        fail_with(story, failure("ProcessError", f"error {number}"))
        waits.append(story.revisit())
        next_attempt(story)
    assert waits == [20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_the_same_error_twice_without_a_checkpoint_ends_the_job(story: Story[TrainingJob]) -> None:
    fail_with(story, NAN)
    next_attempt(story)
    fail_with(story, NAN)
    assert story.resource.status.message == (
        "twice the same error with no checkpoint in between: ValueError: loss is NaN"
    )
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Failed",
        "Failed": "True ProcessError",
        "Stalled": "True ProcessError",
    }


def test_the_same_error_after_a_newer_checkpoint_restarts_from_there(story: Story[TrainingJob]) -> None:
    fail_with(story, NAN)
    next_attempt(story)
    checkpoint = {"step": 400, "uri": "pvc://ckpt/a", "digest": DIGEST}
    fail_with(story, failure("ProcessError", "ValueError: loss is NaN", checkpoint=checkpoint))
    assert story.resource.status.message == (
        "attempt 2 failed (ProcessError: ValueError: loss is NaN); again in 10 s from the checkpoint at step 400"
    )


def test_a_lost_pod_may_be_lost_twice(story: Story[TrainingJob]) -> None:
    for _ in range(2):
        fail(story, ended(code=137), ended(failure("PeerLost")))
        assert state(story) == "Restarting"
        next_attempt(story)


def test_after_the_last_restart_the_job_fails(story: Story[TrainingJob]) -> None:
    for number in range(4):
        fail_with(story, failure("ProcessError", f"error {number}"))
        if number < 3:
            next_attempt(story)
    assert (state(story), story.resource.status.message) == (
        "Failed",
        "error 3 (after 3 restarts, restart.maxRestarts 3)",
    )
    assert story.resource.status.attempt == 4


@pytest.mark.parametrize("reason", ["ScriptNotFound", "NothingSaved", "ExportFailed", "ExportMismatch", "StorageFull"])
def test_a_failure_that_would_only_repeat_ends_the_job_at_once(story: Story[TrainingJob], reason: str) -> None:
    fail_with(story, failure(reason, "remedy"))
    assert (state(story), story.condition("Failed").reason, story.revisit()) == ("Failed", reason, None)


@pytest.mark.parametrize(
    ("statuses", "reason", "message"),
    [
        ([ended(failure("PeerLost", "gone")), ended(NAN)], "ProcessError", "ValueError: loss is NaN"),
        (
            [ended(failure("Terminated")), ended(failure("PeerLost", "gone"))],
            "PodLost",
            "pod digits-train-1-0 was deleted while it ran",
        ),
        (
            [ended(code=137, reason="OOMKilled"), ended(failure("PeerLost"))],
            "OOMKilled",
            "pod digits-train-1-0 used more memory than its limit; raise resources.limits",
        ),
        ([ended(code=139)], "PodLost", "pod digits-train-1-0 ended with code 139 without a word"),
        ([], "PodLost", "a pod of the attempt is gone without a word"),
    ],
)
def test_the_cause_is_what_failed_by_itself(
    story: Story[TrainingJob], statuses: list[PodStatus], reason: str, message: str
) -> None:
    fail(story, *statuses)
    last = story.resource.status.restarts.last
    assert last is not None
    assert (last.reason, last.message) == (reason, message)


def test_a_deleted_job_of_the_current_attempt_returns(story: Story[TrainingJob]) -> None:
    story.objects = {key: child for key, child in story.objects.items() if key.kind != "Job"}
    story.visit()
    assert "Job digits-train-1" in story.names()


def test_no_restart_is_allowed_when_none_was_asked_for() -> None:
    story = running("{maxRestarts: 0}")
    fail_with(story, NAN)
    assert (state(story), story.resource.status.restarts.counted) == ("Failed", 0)
