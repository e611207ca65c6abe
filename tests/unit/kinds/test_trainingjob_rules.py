import pytest

from kind_stories import READY, Story, ended, failure
from modelyard.api.pods import PodCondition, PodStatus
from modelyard.api.workloads import Job
from modelyard.contract.reports import Termination
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

RULES = """
{backoffSeconds: 0, maxRestarts: 1, rules: [
  {name: cuda-oom, onMessage: CUDA out of memory, action: Fail},
  {name: nccl, onExitCodes: [33], counts: false},
  {name: ecc, onMessage: uncorrectable ECC, excludeNode: true}]}
"""


def after(said: Termination) -> Story[TrainingJob]:
    """A job of one pod on node-a whose attempt failed with these words."""
    story = Story(KIND, f"{{entrypoint: {{module: train}}, restart: {RULES}}}")
    story.visit()
    story.run(story.child(Job, "digits-train-1"), READY)
    story.visit(1)
    story.run(story.child(Job, "digits-train-1"), ended(said))
    pod = story.pods[0]
    story.pods = [pod.model_copy(update={"spec": pod.spec.model_copy(update={"node_name": "node-a"})})]
    story.job_says("digits-train-1", "Failed")
    story.visit(1)
    return story


def test_a_rule_may_end_the_job_at_once() -> None:
    story = after(failure("ProcessError", "rank 0: OutOfMemoryError: CUDA out of memory. Tried to allocate"))
    assert story.condition("Failed").message == (
        "rank 0: OutOfMemoryError: CUDA out of memory. Tried to allocate (rule cuda-oom)"
    )


def test_a_rule_may_keep_a_restart_from_counting() -> None:
    story = after(failure("ProcessError", "rank 0 exited with code 33", exitCode=33))
    restarts = story.resource.status.restarts
    assert (restarts.counted, restarts.uncounted) == (0, 1)


def test_a_rule_may_keep_later_attempts_away_from_the_node() -> None:
    story = after(failure("ProcessError", "uncorrectable ECC error encountered"))
    story.visit()
    story.visit()
    spec = story.child(Job, "digits-train-2").spec.template.spec
    assert spec.affinity is not None
    assert spec.affinity.model_dump() == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-a"]}]}
                ]
            }
        }
    }


@pytest.mark.parametrize(
    ("why", "reason", "counts"),
    [("EvictionByEvictionAPI", "Preempted", False), ("DeletionByTaintManager", "NodeLost", True)],
)
def test_a_drain_does_not_count_and_a_lost_node_does(why: str, reason: str, *, counts: bool) -> None:
    story = Story(KIND, "{entrypoint: {module: train}}")
    story.visit()
    moved = PodCondition(type="DisruptionTarget", status="True", reason=why)
    story.run(story.child(Job, "digits-train-1"), PodStatus(phase="Failed", conditions=[moved]))
    story.job_says("digits-train-1", "Failed")
    story.visit(1)
    restarts = story.resource.status.restarts
    assert restarts.last is not None
    assert (restarts.last.reason, restarts.counted) == (reason, int(counts))


def test_what_was_seen_of_pods_that_are_gone_still_counts() -> None:
    story = Story(KIND, "{entrypoint: {module: train}, nodes: 2}")
    story.visit()
    moved = PodCondition(type="DisruptionTarget", status="True", reason="EvictionByEvictionAPI")
    evicted = READY.model_copy(update={"conditions": [*READY.conditions, moved]})
    story.run(story.child(Job, "digits-train-1"), evicted, READY)
    story.visit(1)
    story.run(story.child(Job, "digits-train-1"))
    story.job_says("digits-train-1", "Failed")
    story.visit(1)
    last = story.resource.status.restarts.last
    assert last is not None
    assert (last.reason, story.resource.status.restarts.counted) == ("Preempted", 0)
