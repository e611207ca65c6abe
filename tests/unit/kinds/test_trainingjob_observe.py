import pytest

from kind_stories import DIGEST, READY, Story, claim, code, ended, failure, publication, success, unplaced
from modelyard.api.pods import PodCondition, PodStatus
from modelyard.api.workloads import ConfigMap, Job
from modelyard.contract.reports import ProgressReport
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.observe import SILENT_SECONDS

SPEC = """
code: {configMap: {name: digits-code}}
entrypoint: {script: train.py}
nodes: 2
procsPerNode: 2
output: {uri: "pvc://models/digits"}
"""
JOB = "digits-train-1"


@pytest.fixture
def story() -> Story[TrainingJob]:
    """A job of two pods that do not exist yet."""
    found = Story(KIND, SPEC, code(train_py="print(1)"), claim("models"))
    found.visit()
    return found


def finish(story: Story[TrainingJob], *statuses: PodStatus, condition: str = "Complete") -> None:
    story.run(story.child(Job, JOB), *statuses)
    story.job_says(JOB, condition)
    story.visit(60)


def said(story: Story[TrainingJob]) -> tuple[str, str]:
    return story.resource.status.state, story.resource.status.message


def test_a_job_starts_runs_and_is_complete(story: Story[TrainingJob]) -> None:
    seen = [said(story)]
    story.run(story.child(Job, JOB), READY, PodStatus())
    story.visit(1)
    seen.append(said(story))
    story.run(story.child(Job, JOB), READY, READY)
    story.visit(1)
    seen.append(said(story))
    story.visit(SILENT_SECONDS)
    seen.append(said(story))
    finish(story, ended(publication()), ended(success()))
    seen.append(said(story))
    assert seen == [
        ("Starting", "attempt 1, 0 of 2 pods run"),
        ("Starting", "attempt 1, 1 of 2 pods run"),
        ("Starting", "attempt 1, 4 ranks start"),
        ("Running", "attempt 1, 4 ranks"),
        ("Complete", "published pvc://models/digits/sha256-111111111111"),
    ]


def test_a_running_job_says_so_in_its_status(story: Story[TrainingJob]) -> None:
    story.run(story.child(Job, JOB), READY, READY)
    story.visit(1)
    story.visit(SILENT_SECONDS)
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Scheduled": "True AllPodsScheduled",
        "Running": "True AllPodsRun",
        "Reconciling": "True Running",
    }
    status = story.resource.status
    assert status.nodes is not None
    assert status.nodes.model_dump() == {"desired": 2, "ready": 2, "worldSize": 4}
    assert (status.attempt, status.start_time, status.completion_time) == (1, "2026-05-01T12:00:00Z", None)


def test_a_complete_job_is_at_rest_and_names_its_artefact(story: Story[TrainingJob]) -> None:
    finish(story, ended(publication(metrics=[("accuracy", "0.97")])))
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Complete",
        "ArtifactReady": "True Published",
        "GatePassed": "True NoGates",
        "Complete": "True Completed",
    }
    status = story.resource.status
    assert status.artifact is not None
    assert status.artifact.model_dump(exclude_none=True) == {
        "uri": "pvc://models/digits/sha256-111111111111",
        "digest": DIGEST,
        "sizeBytes": 9,
        "metrics": {"accuracy": "0.97"},
        "format": "Onnx",
    }
    assert status.completion_time == "2026-05-01T12:01:00Z"


def test_a_pod_that_is_done_before_the_other_still_counts_as_running(story: Story[TrainingJob]) -> None:
    story.run(story.child(Job, JOB), READY, ended(success()))
    story.visit(1)
    assert said(story) == ("Starting", "attempt 1, 4 ranks start")
    assert story.conditions()["Running"] == "True AllPodsRun"


def test_a_pod_that_no_node_takes_is_pending_with_the_schedulers_words(story: Story[TrainingJob]) -> None:
    story.run(story.child(Job, JOB), READY, unplaced("0/3 nodes are available: 3 Insufficient cpu."))
    story.visit(1)
    assert said(story) == (
        "Pending",
        "1 pod waits for a node: 0/3 nodes are available: 3 Insufficient cpu; lower spec.resources or add nodes",
    )
    assert story.conditions()["Scheduled"] == "False Unschedulable"


def test_progress_is_what_a_pod_of_the_attempt_reported(story: Story[TrainingJob]) -> None:
    story.run(story.child(Job, JOB), READY, READY)
    story.progress["digits-train-1-0"] = ProgressReport.model_validate(
        {
            "stage": "Training",
            "step": 420,
            "totalSteps": 900,
            "metrics": {"loss": "0.21", "accuracy": "0.9"},
            "checkpoint": {"step": 400, "uri": "pvc://models/c", "digest": DIGEST},
            "time": "2026-05-01T12:00:05Z",
        }
    )
    story.progress["digits-train-0-0"] = ProgressReport(stage="Training", step=1, time="")
    story.visit(10)
    progress, checkpoint = story.resource.status.progress, story.resource.status.checkpoint
    assert progress is not None
    assert progress.model_dump(exclude_none=True) == {
        "stage": "Training",
        "step": 420,
        "totalSteps": 900,
        "percent": 46,
        "metrics": [{"name": "accuracy", "value": "0.9"}, {"name": "loss", "value": "0.21"}],
        "lastHeartbeat": "2026-05-01T12:00:05Z",
    }
    assert checkpoint is not None
    assert checkpoint.step == 400


@pytest.mark.parametrize(
    ("missing", "reason", "message"),
    [
        (
            "ConfigMap",
            "ConfigMapNotFound",
            "spec.code.configMap: ConfigMap 'digits-code' not found; create it in the same namespace",
        ),
        (
            "PersistentVolumeClaim",
            "PersistentVolumeClaimNotFound",
            "spec.output.uri: PersistentVolumeClaim 'models' not found; create it in the same namespace",
        ),
    ],
)
def test_what_is_missing_is_named_and_awaited(missing: str, reason: str, message: str) -> None:
    sources = {"ConfigMap": code(train_py="print(1)"), "PersistentVolumeClaim": claim("models")}
    late = sources.pop(missing)
    story = Story(KIND, SPEC, *sources.values())
    story.visit()
    assert (story.names(), said(story)) == ([], ("Waiting", message))
    assert story.conditions() == {"Accepted": f"False {reason}", "Reconciling": "True Waiting"}
    story.bring(late)
    story.visit(1)
    assert (story.resource.status.state, story.conditions()["Accepted"]) == ("Starting", "True Valid")


def test_a_source_that_goes_while_the_job_runs_changes_nothing(story: Story[TrainingJob]) -> None:
    story.sources = {}
    story.visit(1)
    assert said(story)[0] == "Starting"
    assert story.child(ConfigMap, "digits-train-code").data == {"train.py": "print(1)"}


@pytest.mark.parametrize(
    ("op", "value", "state", "message"),
    [
        ("GreaterOrEqual", "0.97", "Complete", "published pvc://models/digits/sha256-111111111111"),
        ("GreaterOrEqual", "0.98", "Failed", "gate accuracy: 0.97 observed, at least 0.98 asked for"),
        ("LessOrEqual", "9.7e-1", "Complete", "published pvc://models/digits/sha256-111111111111"),
        ("LessOrEqual", "0.5", "Failed", "gate accuracy: 0.97 observed, at most 0.5 asked for"),
    ],
)
def test_a_gate_decides_whether_the_artefact_is_handed_on(op: str, value: str, state: str, message: str) -> None:
    gates = f"gates: [{{metric: accuracy, op: {op}, value: '{value}'}}]"
    story = Story(KIND, SPEC + gates, code(train_py="print(1)"), claim("models"))
    story.visit()
    finish(story, ended(publication(metrics=[("accuracy", "0.97")])))
    assert said(story) == (state, message)
    passed = "True AllGatesMet" if state == "Complete" else "False GateNotMet"
    assert (story.conditions()["GatePassed"], story.conditions()["ArtifactReady"]) == (passed, "True Published")


def test_a_gate_on_a_metric_that_was_not_saved_fails_with_those_that_were() -> None:
    gates = "gates: [{metric: f1, value: '0.5'}]"
    story = Story(KIND, SPEC + gates, code(train_py="print(1)"), claim("models"))
    story.visit()
    finish(story, ended(publication(metrics=[("loss", "0.1"), ("accuracy", "0.97")])))
    assert said(story) == (
        "Failed",
        "gate f1: no such metric was saved (there are: accuracy, loss); pass it to run.save(metrics=...)",
    )


def test_a_job_without_an_output_is_complete_and_hands_nothing_on() -> None:
    story = Story(KIND, "{entrypoint: {module: train}}")
    story.visit()
    finish(story, ended(success()))
    assert said(story) == ("Complete", "no output was asked for")
    assert "ArtifactReady" not in story.conditions()


def test_pods_that_succeed_without_naming_an_artefact_have_failed(story: Story[TrainingJob]) -> None:
    finish(story, ended(success()))
    assert said(story) == ("Failed", "the pods succeeded, but pod 0 named no artefact")
    assert story.condition("Failed").reason == "ArtifactLost"


def test_a_finished_job_says_when_its_code_was_edited_since(story: Story[TrainingJob]) -> None:
    finish(story, ended(publication()))
    rested = story.resource.status
    story.visit(60)
    assert story.resource.status == rested
    story.bring(code(train_py="print(2)"))
    for _ in range(2):
        story.visit(60)
        assert story.resource.status.message == (
            f"{rested.message}; its code was edited since: delete digits to train again"
        )
    story.bring(code(train_py="print(1)"))
    story.visit(60)
    assert story.resource.status == rested


def test_the_hint_of_edited_code_fits_beside_a_long_message(story: Story[TrainingJob]) -> None:
    finish(story, ended(failure("ScriptNotFound", "x" * 4096)), condition="Failed")
    story.bring(code(train_py="print(2)"))
    story.visit(60)
    message = story.resource.status.message
    assert (len(message), message[-24:]) == (4096, "delete digits to train again"[-24:])


def test_a_preemption_is_read_from_the_pods_conditions(story: Story[TrainingJob]) -> None:
    disrupted = PodStatus(phase="Failed", conditions=[PodCondition(type="DisruptionTarget", status="True")])
    finish(story, disrupted, ended(failure("PeerLost")), condition="Failed")
    restarts = story.resource.status.restarts
    assert restarts.last is not None
    assert (restarts.counted, restarts.uncounted, restarts.last.reason, story.revisit()) == (0, 1, "Preempted", 0.0)


def test_ranks_that_start_are_not_called_running_until_they_report_or_have_been_silent_for_a_minute(
    story: Story[TrainingJob],
) -> None:
    story.run(story.child(Job, JOB), READY, READY)
    story.progress[f"{JOB}-0"] = ProgressReport(stage="Starting", time="2026-05-01T12:00:01Z")
    story.visit(1)
    assert (said(story), story.revisit()) == (("Starting", "attempt 1, 4 ranks start"), 60)
    story.visit(60)
    assert (said(story), story.revisit()) == (("Running", "attempt 1, 4 ranks"), None)
    story.progress[f"{JOB}-0"] = ProgressReport.model_validate(
        {
            "stage": "Restarting",
            "time": "2026-05-01T12:01:30Z",
            "inPlace": {"count": 1, "reason": "ProcessError", "message": "rank 1 was killed by SIGKILL", "rank": 1},
        }
    )
    story.visit(1)
    assert said(story) == ("Restarting", "attempt 1, 4 ranks start again in place: rank 1 was killed by SIGKILL")
