from kind_stories import DIGEST, READY, Story, claim, ended, failure, publication
from modelyard.api.labels import INDEX_ANNOTATION
from modelyard.api.pods import PodStatus
from modelyard.api.workloads import Job
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.kinds.compressionjob import KIND
from modelyard.kinds.compressionjob.model import CompressionJob

JOB = "int8-compress"
SPEC = f"""
source: {{artifact: {{uri: "pvc://models/a", digest: "{DIGEST}"}}}}
search: {{parallelism: 3}}
output: {{uri: "pvc://models/int8"}}
"""
BUILT = Termination(outcome="Succeeded", reason="TrialsBuilt", message="")


def searching(*statuses: PodStatus) -> Story[CompressionJob]:
    """The pods by their index."""
    story = Story(KIND, SPEC, claim("models"), name="int8")
    story.visit()
    story.run(story.child(Job, JOB), *statuses)
    story.pods = [
        pod.model_copy(
            update={"metadata": pod.metadata.model_copy(update={"annotations": {INDEX_ANNOTATION: str(index)}})}
        )
        for index, pod in enumerate(story.pods)
    ]
    return story


def test_a_search_may_be_spread_over_the_pods_of_an_indexed_job() -> None:
    spec = searching().child(Job, JOB).spec
    assert spec.success_policy is not None
    assert (spec.parallelism, spec.completions, spec.completion_mode) == (3, 3, "Indexed")
    assert [rule.succeeded_indexes for rule in spec.success_policy.rules] == ["0"]
    index = next(each for each in spec.template.spec.containers[0].env if each.name == "JOB_COMPLETION_INDEX")
    assert index.value_from is not None
    assert index.value_from.field_ref.field_path == f"metadata.annotations['{INDEX_ANNOTATION}']"


def test_the_first_pod_tells_how_far_the_job_is() -> None:
    story = searching(READY, READY, READY)
    story.progress = {
        f"{JOB}-{index}": ProgressReport(stage="Quantizing", step=step, total_steps=9, time="")
        for index, step in enumerate((4, 1, 2))
    }
    story.visit(1)
    assert story.resource.status.progress is not None
    assert story.resource.status.progress.step == 4


def test_the_first_pod_says_what_came_of_the_job() -> None:
    story = searching(ended(publication()), ended(BUILT), ended(BUILT))
    story.job_says(JOB, "Complete")
    story.visit(1)
    assert story.resource.status.state == "Complete"
    assert story.resource.status.artifact is not None


def test_a_pod_that_failed_is_heard_where_the_first_one_was_ended_for_that() -> None:
    told_to_end = ended(failure("Terminated", "stopped by a signal before there was a result"))
    story = searching(told_to_end, ended(failure("MemoryTooSmall", "too little"), code=3), ended(BUILT))
    story.job_says(JOB, "Failed")
    story.visit(1)
    assert (story.resource.status.state, story.condition("Failed").reason) == ("Failed", "MemoryTooSmall")
