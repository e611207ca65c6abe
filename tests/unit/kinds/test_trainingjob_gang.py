import pytest

from kind_stories import Story
from modelyard.api.children import Children
from modelyard.api.settings import Settings
from modelyard.api.workloads import Job, PodGroup
from modelyard.kinds.trainingjob import KIND

GANGS = Settings(pod_groups=True)


def groups(spec: str, settings: Settings = GANGS) -> tuple[list[int], list[str]]:
    """The least counts of the desired PodGroups, and the groups that the pods are placed with."""
    job = Story(KIND, f"{{entrypoint: {{module: train}}, {spec}}}").resource
    wanted = KIND.desired(job, {}, Children(), settings)
    counts = [each.spec.scheduling_policy.gang.min_count for each in wanted if isinstance(each, PodGroup)]
    [made] = [each for each in wanted if isinstance(each, Job)]
    group = made.spec.template.spec.scheduling_group
    return counts, [] if group is None else [group.pod_group_name]


def test_where_the_cluster_serves_pod_groups_all_pods_are_placed_or_none() -> None:
    assert groups("nodes: 3") == ([3], ["digits-train-1"])


def test_an_elastic_job_is_placed_with_the_least_that_it_can_do_with() -> None:
    assert groups("nodes: 3, elastic: {minNodes: 2, maxNodes: 4}") == ([2], ["digits-train-1"])


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ("nodes: 3", Settings()),
        ("nodes: 3, scheduling: {gang: Never}", GANGS),
        ("nodes: 1", GANGS),
    ],
)
def test_else_each_pod_is_placed_alone(spec: str, settings: Settings) -> None:
    assert groups(spec, settings) == ([], [])
