import pytest

from kind_stories import DIGEST, READY, Story, claim, ended, failure, publication
from modelyard.api.pods import PodStatus
from modelyard.api.workloads import Job
from modelyard.contract.reports import ProgressReport
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

CHECKPOINT = {"step": 40, "uri": "pvc://ckpt/x", "digest": DIGEST}


def running(spec: str = "") -> Story[TrainingJob]:
    """A job whose first attempt has run on two pods for a second."""
    found = Story(KIND, f"{{entrypoint: {{module: train}}, nodes: 2, {spec}}}", claim("models"))
    found.visit()
    found.run(found.child(Job, "digits-train-1"), READY, READY)
    found.visit(1)
    return found


def state(story: Story[TrainingJob]) -> str:
    return story.resource.status.state


def jobs(story: Story[TrainingJob]) -> list[str]:
    return [name.removeprefix("Job ") for name in story.names() if name.startswith("Job ")]


def leave(story: Story[TrainingJob]) -> None:
    """The pods of the attempt that is being ended are gone."""
    story.pods = []
    story.visit(5)


def test_a_suspended_job_gives_up_its_pods_and_goes_on_as_the_next_attempt() -> None:
    story = running()
    seen = [(state(story), jobs(story))]
    story.edit("{suspend: true}")
    for _ in range(2):  # decided, then done
        story.visit(1)
    seen.append((state(story), jobs(story)))
    leave(story)
    seen.append((state(story), jobs(story)))
    story.edit("{suspend: false}")
    story.visit(60)
    seen.append((state(story), jobs(story)))
    assert seen == [
        ("Starting", ["digits-train-1"]),
        ("Suspending", []),
        ("Suspended", []),
        ("Starting", ["digits-train-2"]),
    ]
    assert story.conditions()["Suspended"] == "False Resumed"
    assert story.resource.status.restarts.model_dump(exclude_none=True) == {"counted": 0, "uncounted": 0, "inPlace": 0}


def test_a_job_that_is_resumed_before_its_pods_are_gone_still_waits_for_that() -> None:
    story = running()
    story.edit("{suspend: true}")
    story.visit(1)
    story.edit("{suspend: false}")
    story.visit(1)
    assert (state(story), jobs(story)) == ("Suspending", [])
    leave(story)
    story.visit()
    assert (story.resource.status.attempt, jobs(story)) == (2, ["digits-train-2"])


def test_a_job_that_is_made_suspended_has_no_pods_and_starts_as_the_first_attempt() -> None:
    story = Story(KIND, "{entrypoint: {module: train}, suspend: true}")
    story.visit()
    assert (state(story), jobs(story)) == ("Suspended", [])
    assert "Reconciling" not in story.conditions()
    story.edit("{suspend: false}")
    story.visit(60)
    assert (story.resource.status.attempt, jobs(story)) == (1, ["digits-train-1"])


def test_an_attempt_that_was_complete_when_the_job_was_suspended_counts() -> None:
    story = running("output: {uri: 'pvc://models/x'}")
    story.run(story.child(Job, "digits-train-1"), ended(publication()), ended(publication()))
    story.job_says("digits-train-1", "Complete")
    story.edit("{suspend: true}")
    story.visit(1)
    assert state(story) == "Complete"


def test_a_failed_attempt_of_a_suspended_job_is_followed_by_none() -> None:
    story = running("restart: {backoffSeconds: 0}")
    story.run(story.child(Job, "digits-train-1"), ended(failure("ProcessError", "x")), ended())
    story.job_says("digits-train-1", "Failed")
    story.visit(1)
    story.edit("{suspend: true}")
    story.visit(1)
    assert state(story) == "Suspended"
    story.edit("{suspend: false}")
    story.visit(1)
    assert story.resource.status.attempt == 2


def test_active_deadline_counts_running_time_over_all_attempts_and_not_the_time_suspended() -> None:
    story = running("activeDeadlineSeconds: 100")
    story.visit(60)
    assert story.revisit() == 40
    story.edit("{suspend: true}")
    story.visit()
    leave(story)
    story.visit(1000)
    story.edit("{suspend: false}")
    story.visit()
    story.run(story.child(Job, "digits-train-2"), READY, READY)
    story.visit(1)
    assert story.revisit() == pytest.approx(35)
    story.visit(35)
    assert state(story) == "Stopping"
    story.visit()
    assert jobs(story) == []
    leave(story)
    assert (state(story), story.condition("Failed").reason) == ("Failed", "DeadlineExceeded")
    story.visit()
    assert jobs(story) == []


def test_a_job_that_gets_only_part_of_its_pods_in_time_frees_them_and_says_so() -> None:
    story = Story(KIND, "{entrypoint: {module: train}, nodes: 2, startDeadlineSeconds: 30}")
    story.visit()
    story.run(story.child(Job, "digits-train-1"), READY, PodStatus())
    story.visit(1)
    assert story.revisit() == 29
    story.visit(29)
    leave(story)
    assert story.condition("Failed").reason == "StartDeadlineExceeded"
    assert story.resource.status.message == (
        "1 of 2 pods ran after startDeadlineSeconds 30, and what they held is freed"
    )


def test_a_queue_is_a_label_of_the_job_and_its_suspension_is_shown_and_left_alone() -> None:
    story = Story(KIND, "{entrypoint: {module: train}, scheduling: {queue: team-a}, startDeadlineSeconds: 30}")
    story.visit()
    job = story.child(Job, "digits-train-1")
    assert job.metadata.labels["kueue.x-k8s.io/queue-name"] == "team-a"
    assert "suspend" not in job.to_manifest()["spec"]  # type: ignore[operator]  # JSON
    story.job_says("digits-train-1", "Suspended")
    story.visit(100)
    assert (state(story), story.revisit()) == ("Queued", None)
    assert story.resource.status.message == "attempt 1 waits: queue team-a has suspended its Job"


def test_children_go_after_the_end_and_the_record_stays() -> None:
    story = running("output: {uri: 'pvc://models/x'}, cleanup: {ttlSecondsAfterFinished: 60}")
    story.run(story.child(Job, "digits-train-1"), ended(publication()), ended(publication()))
    story.job_says("digits-train-1", "Complete")
    story.visit(1)
    assert (jobs(story), story.revisit()) == (["digits-train-1"], 60)
    story.visit(60)
    story.visit()
    assert (story.names(), state(story), story.revisit()) == ([], "Complete", None)


def test_pods_of_a_success_may_go_at_once() -> None:
    story = running("output: {uri: 'pvc://models/x'}, cleanup: {pods: OnSuccess}")
    story.run(story.child(Job, "digits-train-1"), ended(publication()), ended(publication()))
    story.job_says("digits-train-1", "Complete")
    story.visit(1)
    story.visit()
    assert jobs(story) == []


def test_a_restart_tells_the_steps_it_lost_and_the_seconds_until_they_were_made_good() -> None:
    story = running("restart: {backoffSeconds: 0}, resources: {requests: {cpu: '2'}}")

    def report(attempt: int, step: int, second: int, resumed: int) -> None:
        time = f"2026-05-01T12:00:{second:02}Z"
        story.progress = {
            f"digits-train-{attempt}-0": ProgressReport.model_validate(
                {"stage": "Training", "step": step, "resumedStep": resumed, "checkpoint": CHECKPOINT, "time": time}
            )
        }

    report(1, 10, 2, 0)
    story.visit(1)
    report(1, 50, 10, 0)
    story.visit(8)
    story.run(story.child(Job, "digits-train-1"), ended(failure("ProcessError", "x", rank=1)), ended())
    story.job_says("digits-train-1", "Failed")
    story.visit()
    last = story.resource.status.restarts.last
    assert last is not None
    assert (last.step, last.checkpoint_step, last.lost_steps, last.recovery_seconds) == (50, 40, 10, None)
    cost = story.resource.status.cost
    assert (cost.active_seconds, cost.node_seconds, cost.cpu_seconds) == (9, 20, 40)
    assert cost.productive_ratio == "0.65"  # 8 of 10 s on two pods trained, and 40 of 50 steps were kept
    story.visit()
    story.visit()
    story.run(story.child(Job, "digits-train-2"), READY, READY)
    report(2, 45, 15, 40)
    story.visit(5)
    report(2, 51, 17, 40)
    story.visit(2)
    last = story.resource.status.restarts.last
    assert last is not None
    assert last.recovery_seconds == 7
