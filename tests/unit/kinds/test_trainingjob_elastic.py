import pytest
from pydantic import ValidationError

from kind_stories import READY, Story, ended, failure
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import Pod, PodStatus
from modelyard.api.workloads import Job
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

JOB = "digits-train-1"


@pytest.fixture
def story() -> Story[TrainingJob]:
    """An elastic job of three pods that run."""
    found = Story(KIND, "{entrypoint: {module: train}, nodes: 3, elastic: {minNodes: 2, maxNodes: 4}}")
    found.visit()
    run(found, READY, READY, READY)
    found.visit(1)
    return found


def run(story: Story[TrainingJob], *statuses: PodStatus) -> None:
    job = story.child(Job, JOB)
    story.pods = [
        Pod(
            metadata=ObjectMeta(
                name=f"{JOB}-{index}",
                labels=job.spec.template.metadata.labels,
                annotations={"batch.kubernetes.io/job-completion-index": str(index)},
            ),
            spec=job.spec.template.spec,
            status=status,
        )
        for index, status in enumerate(statuses)
    ]


def test_an_elastic_job_replaces_lost_pods_and_is_complete_when_pod_0_is(story: Story[TrainingJob]) -> None:
    spec = story.child(Job, JOB).to_manifest()["spec"]
    assert isinstance(spec, dict)
    assert {name: value for name, value in spec.items() if name not in ("template", "podFailurePolicy")} == {
        "parallelism": 3,
        "completions": 3,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 3,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        "podReplacementPolicy": "Failed",
    }
    env = {variable.name: variable.value for variable in story.child(Job, JOB).spec.template.spec.containers[0].env}
    assert (env["PET_NNODES"], env["PET_RDZV_CONF"]) == ("2:4", "join_timeout=600,last_call_timeout=5")


def test_the_loss_of_a_pod_other_than_0_goes_on_with_fewer(story: Story[TrainingJob]) -> None:
    run(story, READY, READY, ended(failure("PeerLost", "x")))
    story.visit(1)
    status = story.resource.status
    assert (status.state, status.attempt) == ("Starting", 1)
    assert story.conditions()["Running"] == "True AllPodsRun"
    assert status.nodes is not None
    assert (status.nodes.ready, status.nodes.world_size) == (2, 2)


def test_the_loss_of_pod_0_ends_the_attempt_and_the_next_one_follows(story: Story[TrainingJob]) -> None:
    run(story, ended(code=137), READY, READY)
    story.visit(1)
    assert story.resource.status.state == "Stopping"
    story.visit()
    assert f"Job {JOB}" not in story.names()
    story.pods = []
    story.visit(1)
    last = story.resource.status.restarts.last
    assert last is not None
    assert (story.resource.status.state, last.reason, story.revisit()) == ("Restarting", "PodLost", 4)
    story.visit(4)
    story.visit()
    assert "Job digits-train-2" in story.names()
    assert story.resource.status.halt is None


def test_nodes_may_change_within_the_bounds_and_only_then(story: Story[TrainingJob]) -> None:
    before = story.resource.spec
    story.edit("{nodes: 4}")
    assert story.resource.spec.transition_errors(before) == []
    story.visit(1)
    spec = story.child(Job, JOB).spec
    assert (spec.parallelism, spec.completions) == (4, 4)
    with pytest.raises(ValidationError, match=r"nodes: must lie between elastic.minNodes and elastic.maxNodes"):
        story.edit("{nodes: 5}")


def test_nodes_of_a_fixed_size_job_cannot_change() -> None:
    story = Story(KIND, "{entrypoint: {module: train}, nodes: 2}")
    before = story.resource.spec
    story.edit("{nodes: 3}")
    assert story.resource.spec.transition_errors(before) == ["nodes can be changed only with elastic"]
