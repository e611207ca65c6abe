"""The Job and Deployment controllers of the process cluster."""

from datetime import UTC, datetime

import pytest

from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import (
    Container,
    ContainerState,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplate,
    Terminated,
)
from modelyard.api.workloads import (
    Deployment,
    DeploymentSpec,
    Job,
    JobSpec,
    LabelSelector,
    OnExitCodes,
    OnPodCondition,
    PodFailurePolicy,
    PodFailureRule,
)
from modelyard.clusters.process.deployments import plan_deployment
from modelyard.clusters.process.jobs import Plan, make_pod, plan_job

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TEMPLATE = PodTemplate(spec=PodSpec(containers=[Container(name="c", image="i")]))
FINAL = PodFailureRule(action="FailJob", on_exit_codes=OnExitCodes(operator="In", values=[3]))
DISRUPTED = PodFailureRule(action="Ignore", on_pod_conditions=[OnPodCondition(type="DisruptionTarget")])


def job(completions: int = 2, backoff_limit: int = 0) -> Job:
    return Job(
        metadata=ObjectMeta(name="digits", uid="u"),
        spec=JobSpec(
            parallelism=completions,
            completions=completions,
            completion_mode="Indexed",
            backoff_limit=backoff_limit,
            pod_failure_policy=PodFailurePolicy(rules=[FINAL, DISRUPTED]),
            template=TEMPLATE,
        ),
    )


def ended(pod: Pod, code: int, *conditions: PodCondition) -> Pod:
    how = ContainerStatus(name="c", state=ContainerState(terminated=Terminated(exit_code=code)))
    phase = "Succeeded" if code == 0 else "Failed"
    status = PodStatus(phase=phase, container_statuses=[how], conditions=list(conditions))
    return pod.model_copy(update={"status": status})


def names(plan: Plan) -> tuple[list[str], list[str]]:
    return [pod.metadata.name for pod in plan.create], [pod.metadata.name for pod in plan.stop]


def test_a_new_job_gets_one_pod_an_index() -> None:
    plan, status = plan_job(job(), [], NOW)
    assert names(plan) == (["digits-0", "digits-1"], [])
    assert [pod.spec.hostname for pod in plan.create] == ["digits-0", "digits-1"]
    assert status.conditions == []


def test_a_job_is_complete_when_every_index_succeeded() -> None:
    pods = [ended(make_pod(job(), index, 0), 0) for index in range(2)]
    plan, status = plan_job(job(), pods, NOW)
    assert names(plan) == ([], [])
    assert (status.succeeded, status.conditions[0].type) == (2, "Complete")


def test_the_first_lost_pod_stops_the_others_and_then_fails_the_job() -> None:
    lost, other = ended(make_pod(job(), 0, 0), 1), make_pod(job(), 1, 0)
    plan, status = plan_job(job(), [lost, other], NOW)
    assert (names(plan), status.conditions) == (([], ["digits-1"]), [])
    _, status = plan_job(job(), [lost, ended(other, 143)], NOW)
    assert (status.conditions[0].type, status.conditions[0].reason) == ("Failed", "BackoffLimitExceeded")


def test_a_failed_index_is_tried_again_within_the_limit() -> None:
    retrying = job(completions=1, backoff_limit=1)
    plan, _ = plan_job(retrying, [ended(make_pod(retrying, 0, 0), 1)], NOW)
    assert names(plan) == (["digits-0-1"], [])


def test_a_final_exit_code_ends_the_job_at_once() -> None:
    retrying = job(completions=1, backoff_limit=5)
    _, status = plan_job(retrying, [ended(make_pod(retrying, 0, 0), 3)], NOW)
    assert status.conditions[0].reason == "PodFailurePolicy"


def test_a_disrupted_pod_is_replaced_and_not_counted() -> None:
    once = job(completions=1)
    disruption = PodCondition(type="DisruptionTarget", status="True")
    plan, status = plan_job(once, [ended(make_pod(once, 0, 0), 143, disruption)], NOW)
    assert (names(plan), status.failed) == ((["digits-0-1"], []), 0)


def test_a_job_that_has_ended_does_nothing_more() -> None:
    pods = [ended(make_pod(job(), index, 0), 0) for index in range(2)]
    _, status = plan_job(job(), pods, NOW)
    over = job().model_copy(update={"status": status})
    assert plan_job(over, [], NOW) == (Plan(), status)


@pytest.mark.parametrize(
    ("replicas", "numbers", "created", "stopped"),
    [(2, [], ["web-0", "web-1"], []), (1, [0, 1], [], ["web-1"]), (0, [0], [], ["web-0"]), (2, [1], ["web-0"], [])],
)
def test_a_deployment_keeps_so_many_pods(
    replicas: int, numbers: list[int], created: list[str], stopped: list[str]
) -> None:
    web = _deployment(replicas)
    pods = [_pod_of(web, number) for number in numbers]
    plan, status = plan_deployment(web, pods)
    assert (names(plan), status.replicas) == ((created, stopped), len(numbers))


def test_a_pod_that_ended_for_good_makes_room_for_a_new_one() -> None:
    web = _deployment(1)
    plan, _ = plan_deployment(web, [ended(_pod_of(web, 0), 0)])
    assert names(plan) == ([], ["web-0"])


def _deployment(replicas: int) -> Deployment:
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(match_labels={}), template=TEMPLATE)
    return Deployment(metadata=ObjectMeta(name="web", uid="u"), spec=spec)


def _pod_of(deployment: Deployment, number: int) -> Pod:
    plan, _ = plan_deployment(deployment.model_copy(update={"spec": _deployment(number + 1).spec}), [])
    return plan.create[number]
