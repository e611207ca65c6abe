"""What the Job controller does: which pods to make or stop, and what the Job's status says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.conditions import timestamp
from modelyard.api.metadata import ObjectMeta, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import Deployment, Job, JobCondition, JobStatus

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Plan:
    """What to do for one Job or Deployment."""

    create: tuple[Pod, ...] = ()
    stop: tuple[Pod, ...] = ()


def plan_job(job: Job, pods: Sequence[Pod], now: datetime) -> tuple[Plan, JobStatus]:
    """The next steps and the status of ``job``, whose pods are ``pods``.

    Follows batch/v1: an index that failed is tried again until ``backoffLimit`` is used up, a pod failure policy may
    end the Job at once or leave a failure uncounted, and Complete or Failed is said only when no pod is left running.
    """
    if job.status.conditions:
        return Plan(), job.status
    active = [pod for pod in pods if not pod.finished]
    done = {_index(pod) for pod in pods if pod.status.phase == "Succeeded"}
    verdicts = [_verdict(job, pod) for pod in pods if pod.status.phase == "Failed"]
    counted = sum(verdict != "Ignore" for verdict in verdicts)
    status = JobStatus(
        active=len(active),
        ready=sum(pod.ready for pod in active),
        succeeded=len(done),
        failed=counted,
        start_time=job.status.start_time or timestamp(now),
    )
    if "FailJob" in verdicts:
        return _end(status, active, "Failed", "PodFailurePolicy", "a pod ended with a final exit code", now)
    if counted > job.spec.backoff_limit:
        message = f"{counted} failed pods, backoffLimit {job.spec.backoff_limit}"
        return _end(status, active, "Failed", "BackoffLimitExceeded", message, now)
    if len(done) >= job.spec.completions:
        return _end(status, active, "Complete", "CompletionsReached", "", now)
    busy = {_index(pod) for pod in active}
    open_indexes = [index for index in range(job.spec.completions) if index not in done and index not in busy]
    room = max(0, job.spec.parallelism - len(active))
    create = tuple(
        make_pod(job, index, attempt=sum(_index(pod) == index for pod in pods)) for index in open_indexes[:room]
    )
    return Plan(create=create), status


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
