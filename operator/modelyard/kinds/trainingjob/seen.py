"""The parts of a TrainingJob's status that its children alone decide: pods, progress, checkpoint, inputs. Pure."""

from collections.abc import Sequence
from datetime import datetime

from modelyard.api import conditions
from modelyard.api.children import Children
from modelyard.api.labels import INDEX_ANNOTATION
from modelyard.api.pods import Pod
from modelyard.api.workloads import Job
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.kinds.causes import Cause, noticed
from modelyard.kinds.endings import termination_of
from modelyard.kinds.trainingjob.desired import code_of, resolve
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.status import (
    Failure,
    LastRestart,
    Metric,
    Nodes,
    Progress,
    Resolved,
    Restarts,
    TrainingJobStatus,
)


def begun(status: TrainingJobStatus, attempt: int) -> TrainingJobStatus:
    """The status as another attempt begins: nothing is known of it yet."""
    restarts = status.restarts.model_copy(update={"in_place": 0, "last_in_place": None})
    return status.model_copy(
        update={
            "attempt": attempt,
            "restarts": restarts,
            "nodes": None,
            "progress": None,
            "attempt_start_time": None,
            "running_since": None,
            "first_step_time": None,
            "failure": None,
            "halt": None,
        }
    )


def seen(job: TrainingJob, attempt: Job | None, children: Children, now: datetime) -> TrainingJobStatus:
    """``job.status`` with all that the Job, the pods and the reports of its current attempt say."""
    status = job.status
    pods = children.of_attempt(status.attempt)
    reports = [children.progress[pod.metadata.name] for pod in pods if pod.metadata.name in children.progress]
    # Rank 0 may be in any pod; the other launchers have only their own stages to report.
    report = max(reports, key=lambda each: (each.resumed_step is not None, each.step), default=None)
    said = [found for pod in pods if (found := termination_of(pod)) is not None]
    status = _resolved(job, status, attempt, children)
    status = _times(status, attempt, job.spec.nodes, pods, report, now)
    checkpoint = next((each.checkpoint for each in said if each.checkpoint), None)
    in_place = next((each.in_place for each in said if each.in_place), None) or (report.in_place if report else None)
    restarts = status.restarts
    if in_place is not None:
        restarts = restarts.model_copy(update={"in_place": in_place.count, "last_in_place": in_place})
    progress = _progress(report) if report is not None else status.progress
    progress = _at_the_end(progress, said)
    return status.model_copy(
        update={
            "start_time": status.start_time or conditions.timestamp(now),
            "nodes": _nodes(job, pods, report),
            "progress": progress,
            "checkpoint": checkpoint or (report.checkpoint if report is not None else None) or status.checkpoint,
            "restarts": _recovered(restarts, status.attempt, progress),
            "failure": _failure(job, pods, now),
        }
    )


def _failure(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> Failure | None:
    """What went wrong so far. Not what we do to the pods ourselves, nor what an elastic attempt goes on without."""
    failure = job.status.failure
    if job.spec.suspend or job.status.halt is not None:
        return failure
    if job.spec.elastic is not None:
        pods = hosts(pods)
    before = as_cause(failure) if failure is not None else None
    cause = noticed(pods, before)
    if cause is None or cause == before:
        return failure
    ends = [pod.terminated.finished_at for pod in pods if pod.terminated is not None and pod.terminated.finished_at]
    first = min([now, *(conditions.parse_timestamp(end) for end in ends)])
    return Failure(
        reason=cause.reason,
        message=cause.message[:4096],
        rank=cause.rank,
        exit_code=cause.exit_code,
        node=cause.node,
        time=failure.time if failure is not None else conditions.timestamp(first),
    )


def as_cause(failure: Failure) -> Cause:
    """The cause that was written down."""
    return Cause(failure.reason, failure.message, failure.rank, failure.exit_code, failure.node)


def hosts(pods: Sequence[Pod]) -> list[Pod]:
    """The pods with index 0, of which the newest hosts the rendezvous."""
    return [pod for pod in pods if pod.metadata.annotations.get(INDEX_ANNOTATION) == "0"]


def _resolved(
    job: TrainingJob, status: TrainingJobStatus, attempt: Job | None, children: Children
) -> TrainingJobStatus:
    resolved = status.resolved
    if resolved is None and attempt is not None:
        resolved = resolve(job, code_of(job, children), attempt.spec.template.spec.containers[0].image)
    if resolved is not None and job.spec.inputs and not resolved.inputs:
        resolved = _with_inputs(resolved, children, status.attempt)
    return status.model_copy(update={"resolved": resolved})


def _with_inputs(resolved: Resolved, children: Children, attempt: int) -> Resolved:
    for pod in children.of_attempt(attempt):
        report = children.progress.get(pod.metadata.name)
        said = termination_of(pod)
        inputs = (report.inputs if report is not None else []) or (said.inputs if said is not None else [])
        if inputs:
            return resolved.model_copy(update={"inputs": inputs})
    return resolved


def _times(
    status: TrainingJobStatus,
    attempt: Job | None,
    nodes: int,
    pods: Sequence[Pod],
    report: ProgressReport | None,
    now: datetime,
) -> TrainingJobStatus:
    if attempt is not None and attempt.condition("Suspended"):
        return status.model_copy(update={"attempt_start_time": None, "running_since": None})
    asked = attempt.status.start_time if attempt is not None else None
    running = status.running_since
    if running is None and pods and sum(started(pod) for pod in pods) >= nodes:
        running = conditions.timestamp(now)
    first = status.first_step_time
    if first is None and report is not None and report.step > 0:
        first = report.time
    return status.model_copy(
        update={
            "attempt_start_time": status.attempt_start_time or asked or conditions.timestamp(now),
            "running_since": running,
            "first_step_time": first,
        }
    )


def started(pod: Pod) -> bool:
    """Whether the pod's container runs, or did."""
    return pod.ready or pod.finished or pod.terminated is not None


def _nodes(job: TrainingJob, pods: Sequence[Pod], report: ProgressReport | None) -> Nodes:
    ready = sum(pod.ready for pod in pods)
    counted = job.spec.nodes if job.spec.elastic is None else ready
    world = report.world_size if report is not None and report.world_size is not None else None
    return Nodes(
        desired=job.spec.nodes,
        ready=ready,
        world_size=counted * job.spec.ranks_per_node if world is None else world,
    )


def _progress(report: ProgressReport) -> Progress:
    total = report.total_steps
    return Progress(
        stage=report.stage,
        step=report.step,
        total_steps=total,
        percent=min(100, 100 * report.step // total) if total else None,
        eta_seconds=report.eta_seconds,
        metrics=[Metric(name=name, value=value) for name, value in sorted(report.metrics.items())[:32]],
        best=report.best,
        resumed_step=report.resumed_step,
        last_heartbeat=report.time,
    )


def _at_the_end(progress: Progress | None, said: Sequence[Termination]) -> Progress | None:
    """What the last words add to the last report, which may have come a little earlier."""
    if progress is None:
        return None
    step = max([progress.step, *(each.step for each in said if each.step is not None)])
    best = next((each.best for each in said if each.best is not None), progress.best)
    total = progress.total_steps
    percent = min(100, 100 * step // total) if total else progress.percent
    return progress.model_copy(update={"step": step, "best": best, "percent": percent})


def _recovered(restarts: Restarts, attempt: int, progress: Progress | None) -> Restarts:
    """Notes how long the last restart took, once the steps are past where they were."""
    last = restarts.last
    if last is None or last.attempt == attempt or last.recovery_seconds is not None:
        return restarts
    if progress is None or progress.step <= last.step:
        return restarts
    then = conditions.parse_timestamp(last.failed_at)
    seconds = round((conditions.parse_timestamp(progress.last_heartbeat) - then).total_seconds())
    found: LastRestart = last.model_copy(update={"recovery_seconds": max(0, seconds)})
    return restarts.model_copy(update={"last": found})
