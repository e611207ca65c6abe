"""What the Job controller does: which pods to make or stop, and what the Job's status says. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.conditions import timestamp
from modelyard.api.labels import INDEX_ANNOTATION
from modelyard.api.metadata import ObjectMeta, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import Deployment, Job, JobCondition, JobStatus

DEFAULT_BACKOFF_LIMIT = 6


@dataclass(frozen=True)
class Plan:
    """What to do for one Job or Deployment."""

    create: tuple[Pod, ...] = ()
    stop: tuple[Pod, ...] = ()


def plan_job(job: Job, pods: Sequence[Pod], now: datetime) -> tuple[Plan, JobStatus]:
    """The next steps and the status of ``job``, whose pods are ``pods``.

    Follows batch/v1: an index that failed is tried again until ``backoffLimit``, or the limit of each index, is used
    up; a pod failure policy may end the Job at once or leave a failure uncounted, a success policy may end it early;
    Complete or Failed is said only when no pod is left running. Unlike there, a pod is replaced without a wait.
    """
    if job.status.conditions:
        return Plan(), job.status
    spec = job.spec
    active = [pod for pod in pods if not pod.finished]
    done = {_index(pod) for pod in pods if pod.status.phase == "Succeeded"}
    verdicts = [(_index(pod), _verdict(job, pod)) for pod in pods if pod.status.phase == "Failed"]
    failures = Counter(index for index, verdict in verdicts if verdict != "Ignore")
    status = JobStatus(
        active=len(active),
        ready=sum(pod.ready for pod in active),
        succeeded=len(done),
        failed=failures.total(),
        start_time=job.status.start_time or timestamp(now),
    )
    if any(verdict == "FailJob" for _, verdict in verdicts):
        return _end(status, active, "Failed", "PodFailurePolicy", "a pod ended with a final exit code", now)
    if spec.backoff_limit_per_index is None:
        limit = DEFAULT_BACKOFF_LIMIT if spec.backoff_limit is None else spec.backoff_limit
        if failures.total() > limit:
            message = f"{failures.total()} failed pods, backoffLimit {limit}"
            return _end(status, active, "Failed", "BackoffLimitExceeded", message, now)
        lost = set()
    else:
        lost = {index for index, count in failures.items() if count > spec.backoff_limit_per_index}
    if _succeeded_early(job, done):
        return _end(status, active, "Complete", "SuccessPolicy", "", now)
    if len(done | lost) >= spec.completions:
        kind, reason = ("Failed", "FailedIndexes") if lost else ("Complete", "CompletionsReached")
        return _end(status, active, kind, reason, "", now)
    surplus = tuple(pod for pod in active if _index(pod) >= spec.completions)
    busy = {_index(pod) for pod in active}
    open_indexes = [index for index in range(spec.completions) if index not in done | lost | busy]
    room = max(0, spec.parallelism - len(active) + len(surplus))
    create = tuple(
        make_pod(job, index, attempt=sum(_index(pod) == index for pod in pods)) for index in open_indexes[:room]
    )
    return Plan(create=create, stop=surplus), status


def _succeeded_early(job: Job, done: set[int]) -> bool:
    rules = job.spec.success_policy.rules if job.spec.success_policy is not None else []
    return any({int(index) for index in rule.succeeded_indexes.split(",")} <= done for rule in rules)


def _end(
    status: JobStatus, active: Sequence[Pod], kind: str, reason: str, message: str, now: datetime
) -> tuple[Plan, JobStatus]:
    if active:
        return Plan(stop=tuple(active)), status
    condition = JobCondition(
        type=kind, status="True", reason=reason, message=message, last_transition_time=timestamp(now)
    )
    return Plan(), status.model_copy(update={"conditions": [condition], "completion_time": timestamp(now)})


def _verdict(job: Job, pod: Pod) -> str:
    rules = job.spec.pod_failure_policy.rules if job.spec.pod_failure_policy else []
    code = pod.terminated.exit_code if pod.terminated else None
    for rule in rules:
        if rule.on_exit_codes is not None and code is not None:
            listed = code in rule.on_exit_codes.values
            if listed == (rule.on_exit_codes.operator == "In"):
                return rule.action
        if any(
            condition.type == wanted.type and condition.status == wanted.status
            for wanted in rule.on_pod_conditions
            for condition in pod.status.conditions
        ):
            return rule.action
    return "Count"


def make_pod(job: Job, index: int, attempt: int) -> Pod:
    """The pod for one index; ``attempt`` counts from 0."""
    hostname = f"{job.metadata.name}-{index}"
    name = hostname if attempt == 0 else f"{hostname}-{attempt}"
    return pod_of(job, name, hostname, {INDEX_ANNOTATION: str(index)})


def pod_of(owner: Job | Deployment, name: str, hostname: str, annotations: dict[str, str]) -> Pod:
    """A pod from the owner's template."""
    template = owner.spec.template
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=owner.metadata.namespace,
            labels=template.metadata.labels,
            annotations=annotations,
            owner_references=[
                OwnerReference(
                    api_version=owner.api_version, kind=owner.kind, name=owner.metadata.name, uid=owner.metadata.uid
                )
            ],
        ),
        spec=template.spec.model_copy(update={"hostname": hostname}),
    )


def _index(pod: Pod) -> int:
    return int(pod.metadata.annotations.get(INDEX_ANNOTATION, "0"))
