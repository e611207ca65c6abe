import pytest

from kind_stories import DIGEST, OTHER_DIGEST, READY, Story, claim, ended, failure, publication, publisher, unplaced
from modelyard.api.pods import PodStatus
from modelyard.api.workloads import Job
from modelyard.contract.compression import MemoryReport, TrialCounts
from modelyard.contract.reports import ProgressReport
from modelyard.kinds.compressionjob import KIND
from modelyard.kinds.compressionjob.model import CompressionJob

SPEC = '{source: {trainingJob: {name: digits}}, output: {uri: "pvc://models/int8"}}'
JOB = "int8-compress"
SELECTED = {
    "trial": "static",
    "accuracy": "0.96",
    "accuracyDrop": "0.01",
    "speedup": "1.8",
    "latencyP50Milliseconds": "0.5",
    "latencyP99Milliseconds": "0.7",
    "sizeBytes": 100,
    "int8MacShare": "0.99",
}
GATE = {"name": "minSpeedup", "limit": "1.3", "observed": "1.8", "passed": True}


def compression(source: str | None = "Complete", message: str = "") -> Story[CompressionJob]:
    found = Story(KIND, SPEC, publisher("TrainingJob", "digits", source, message=message), claim("models"), name="int8")
    found.visit()
    return found


def finish(condition: str, *statuses: PodStatus) -> Story[CompressionJob]:
    story = compression()
    story.run(story.child(Job, JOB), *statuses)
    story.job_says(JOB, condition, "BackoffLimitExceeded" if condition == "Failed" else "")
    story.visit(60)
    return story


def said(story: Story[CompressionJob]) -> tuple[str, str]:
    return story.resource.status.state, story.resource.status.message


def test_a_job_waits_for_its_source() -> None:
    story = compression(source=None)
    assert said(story) == ("Waiting", "waiting for TrainingJob 'digits'")
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False SourceNotComplete",
        "Reconciling": "True SourceNotComplete",
    }
    story.bring(publisher("TrainingJob", "digits", "Complete"))
    story.visit(60)
    assert (said(story)[0], story.names()[1]) == ("Starting", "Job int8-compress")


def test_a_source_that_does_not_exist_is_named() -> None:
    story = Story(KIND, SPEC, claim("models"))
    story.visit()
    assert said(story) == (
        "Waiting",
        "spec.source.trainingJob: TrainingJob 'digits' not found; create it in the same namespace",
    )
    assert story.conditions()["Accepted"] == "False SourceNotFound"


def test_a_claim_that_does_not_exist_is_named() -> None:
    story = Story(KIND, SPEC, publisher("TrainingJob", "digits", "Complete"))
    story.visit()
    assert (story.names(), said(story)[1]) == (
        [],
        "spec.output.uri: PersistentVolumeClaim 'models' not found; create it in the same namespace",
    )
    assert story.conditions()["Accepted"] == "False PersistentVolumeClaimNotFound"


def test_a_source_that_failed_stalls_the_job_until_it_completes_after_all() -> None:
    story = compression(source="Failed", message="loss is NaN")
    assert said(story) == ("Blocked", "TrainingJob 'digits' failed: loss is NaN")
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False SourceFailed",
        "Stalled": "True SourceFailed",
    }
    story.bring(publisher("TrainingJob", "digits", "Complete"))
    story.visit(60)
    assert (said(story)[0], "Stalled" in story.conditions()) == ("Starting", False)


def test_a_source_that_published_nothing_stalls_the_job_with_the_remedy() -> None:
    body = publisher("TrainingJob", "digits", "Complete")
    status = body["status"]
    assert isinstance(status, dict)
    del status["artifact"]
    story = Story(KIND, SPEC, body, claim("models"))
    story.visit()
    assert said(story) == ("Blocked", "TrainingJob 'digits' is complete but published nothing; give it an output")


def test_a_running_job_says_what_it_does() -> None:
    story = compression()
    seen = [said(story)]
    for status in (unplaced("no node has 64 CPUs"), unplaced("held back", reason=""), READY):
        story.run(story.child(Job, JOB), status)
        story.visit(1)
        seen.append(said(story))
    story.progress["int8-compress-0"] = ProgressReport(stage="Quantizing", step=2, total_steps=4, time="")
    story.visit(1)
    assert [*seen, said(story)] == [
        ("Starting", "the pod starts"),
        ("Pending", "1 pod waits for a node: no node has 64 CPUs"),
        ("Pending", "1 pod waits for a node: held back"),
        ("Running", "starting"),
        ("Running", "quantizing"),
    ]
    assert story.conditions() == {"Accepted": "True Valid", "Running": "True PodRuns", "Reconciling": "True Running"}


def test_what_the_pod_takes_is_told_while_it_works_and_stays_in_the_status() -> None:
    memory = MemoryReport(estimate_bytes=300 << 20, limit_bytes=1 << 30)
    story = compression()
    story.run(story.child(Job, JOB), READY)
    story.progress["int8-compress-0"] = ProgressReport(stage="Optimising", memory=memory, time="")
    story.visit(1)
    story.run(story.child(Job, JOB), ended(failure("CompressionError", "no disk")))
    story.job_says(JOB, "Failed")
    story.visit(1)
    assert (said(story)[0], story.resource.status.memory) == ("Failed", memory)


def test_a_complete_job_names_its_artefact_and_what_it_was_made_from() -> None:
    story = finish("Complete", ended(publication(OTHER_DIGEST, selected=SELECTED, gates=[GATE])))
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Complete",
        "Evaluated": "True Measured",
        "GatesPassed": "True AllGatesMet",
        "ArtifactReady": "True Published",
        "Complete": "True Completed",
    }
    status = story.resource.status
    assert (status.artifact, status.selected) != (None, None)
    assert status.artifact is not None
    assert (status.artifact.digest, status.artifact.parent_digest) == (OTHER_DIGEST, DIGEST)
    assert [gate.model_dump() for gate in status.gates] == [GATE]
    assert status.completion_time == "2026-05-01T12:01:00Z"


def test_a_gate_that_says_no_is_a_result_and_no_failure() -> None:
    rejection = failure("GateNotMet", "minSpeedup: 1.1 observed, 1.3 asked for", outcome="Rejected", selected=SELECTED)
    story = finish("Failed", ended(rejection, code=3))
    assert said(story) == ("Rejected", "minSpeedup: 1.1 observed, 1.3 asked for")
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Rejected",
        "Evaluated": "True Measured",
        "GatesPassed": "False GateNotMet",
        "Rejected": "True GateNotMet",
        "Stalled": "True GateNotMet",
    }


def test_a_failure_is_told_in_the_words_of_the_last_pod() -> None:
    story = finish("Failed", ended(failure("StorageFull", "first")), ended(failure("StorageFull", "free space")))
    assert said(story) == ("Failed", "free space")
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Failed",
        "Failed": "True StorageFull",
        "Stalled": "True StorageFull",
    }


@pytest.mark.parametrize(
    ("condition", "reason", "message"),
    [
        ("Failed", "PodLost", "BackoffLimitExceeded; the pod ended without a word"),
        ("Complete", "ArtifactLost", "the pod succeeded without a word of its result"),
    ],
)
def test_a_pod_that_ends_without_a_word_fails_the_job(condition: str, reason: str, message: str) -> None:
    story = finish(condition, ended(code=0 if condition == "Complete" else 137))
    assert (said(story), story.condition("Failed").reason) == (("Failed", message), reason)


def test_a_finished_job_changes_no_more() -> None:
    story = finish("Complete", ended(publication(OTHER_DIGEST)))
    rested = story.resource.status
    story.sources, story.objects, story.pods = {}, {}, []
    story.visit(60)
    assert (story.resource.status, story.names()) == (rested, [])


def test_the_source_published_in_place_of_a_rejected_candidate_may_be_taken_but_passed_no_gate() -> None:
    point = {"trial": "static", "accuracyDrop": "0.01", "latencyP50Milliseconds": "0.5", "sizeBytes": 100}
    message = publication(
        OTHER_DIGEST,
        reason="BaselinePublished",
        selected=SELECTED,
        gates=[{**GATE, "observed": "1.1", "passed": False}],
        trials={"measured": 2, "infeasible": 1, "skipped": 0},
        pareto=[point],
    )
    story = finish("Complete", ended(message))
    assert said(story)[0] == "Complete"
    assert story.conditions()["GatesPassed"] == "False BaselinePublished"
    assert story.conditions()["ArtifactReady"] == "True Published"
    assert (story.resource.status.trials, len(story.resource.status.pareto)) == (
        TrialCounts(measured=2, infeasible=1, skipped=0),
        1,
    )
