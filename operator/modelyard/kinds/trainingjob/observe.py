"""The status of a TrainingJob, from its children. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.conditions import Condition, false, true, unknown
from modelyard.api.pods import Pod
from modelyard.api.resource import MESSAGE_LIMIT, settled
from modelyard.api.workloads import Job
from modelyard.contract.reports import ProgressReport, PublishedArtifact
from modelyard.kinds.endings import stopped, termination_of
from modelyard.kinds.placement import scheduling_note, stuck, unplaced, waits_for
from modelyard.kinds.trainingjob.desired import attempt_name, code_changed, code_of, missing, resolve
from modelyard.kinds.trainingjob.model import (
    ArtifactStatus,
    Gate,
    LastRestart,
    Metric,
    Nodes,
    Progress,
    TrainingJob,
    TrainingJobStatus,
)
from modelyard.kinds.trainingjob.restart import Cause, backoff, cause_of, repeats

SCHEDULED = "Scheduled"
RUNNING = "Running"
GATE_PASSED = "GatePassed"
"""Reasons: Completed, ProcessError and the other causes of failure, MaxRestarts, GateNotMet, Restarting, Starting."""


def observe(job: TrainingJob, sources: Sources, children: Children, now: datetime) -> TrainingJobStatus:
    """Where the job stands. A finished job's status changes no more, but for a hint that its code was edited."""
    if job.status.completion_time is not None:
        return _at_rest(job, sources)
    number = max(1, job.status.attempt)
    attempt = children.find(Job, attempt_name(job, number))
    if attempt is None:
        return _waiting(job, sources, now)
    pods = children.of_attempt(number)
    job = job.model_copy(update={"status": _with_pods(job, number, attempt, children, now)})
    if attempt.condition("Complete"):
        return _succeeded(job, pods, now)
    if attempt.condition("Failed"):
        return _attempt_failed(job, attempt, pods, now)
    return _working(job, pods, now)


def revisit(job: TrainingJob, now: datetime) -> float | None:
    """Seconds until the next restart is due."""
    due = _restart_due(job)
    return None if due is None else max(0.0, (due - now).total_seconds())


def _restart_due(job: TrainingJob) -> datetime | None:
    """When the next attempt starts, if the current one has failed and another follows."""
    last = job.status.restarts.last
    if last is None or last.attempt != job.status.attempt:
        return None
    wait = backoff(job.spec.restart, job.status.restarts)
    return conditions.parse_timestamp(last.failed_at) + timedelta(seconds=wait)


def _waiting(job: TrainingJob, sources: Sources, now: datetime) -> TrainingJobStatus:
    absent = missing(job, sources)
    if absent is None:
        return _working(job, [], now)
    text = f"{absent.field}: {absent.key.kind} {absent.key.name!r} not found; create it in the same namespace"
    refused = false(conditions.ACCEPTED, f"{absent.key.kind}NotFound", text)
    return _settled(job, now, "Waiting", text, [refused, true(conditions.RECONCILING, "Waiting", text)])


def _with_pods(job: TrainingJob, number: int, attempt: Job, children: Children, now: datetime) -> TrainingJobStatus:
    """The parts of the status that follow from the attempt's children alone."""
    status = job.status
    image = attempt.spec.template.spec.containers[0].image
    pods = children.of_attempt(number)
    reports = children.progress
    report = next((reports[pod.metadata.name] for pod in pods if pod.metadata.name in reports), None)
    said = next((said.checkpoint for pod in pods if (said := termination_of(pod)) and said.checkpoint), None)
    return status.model_copy(
        update={
            "attempt": number,
            "start_time": status.start_time or conditions.timestamp(now),
            "resolved": status.resolved or resolve(job, code_of(job, children), image),
            "nodes": Nodes(
                desired=job.spec.nodes,
                ready=sum(pod.ready for pod in pods),
                world_size=job.spec.nodes * job.spec.ranks_per_node,
            ),
            "progress": _progress(report) if report is not None else status.progress,
            "checkpoint": said or (report.checkpoint if report is not None else None) or status.checkpoint,
        }
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
        last_heartbeat=report.time,
    )


def _working(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    scheduled = _scheduled(job, pods)
    started = sum(pod.ready or pod.finished or pod.terminated is not None for pod in pods)
    running = started == job.spec.nodes
    obstacle = stuck(pods)
    if scheduled.status == "False":
        state, text = "Pending", scheduled.message
    elif stopped(pods):
        running, state, text = False, "Stopped", "the pods had to leave their node; goes on when it is back"
    elif running:
        state, text = "Running", f"attempt {job.status.attempt}, {job.spec.nodes * job.spec.ranks_per_node} ranks"
    else:
        count = f"{started} of {job.spec.nodes} pods run"
        state, text = "Starting", f"attempt {job.status.attempt}, {count}{waits_for(pods)}"
    return _settled(
        job, now, state, text,
        [true(conditions.ACCEPTED, "Valid"), scheduled,
         true(RUNNING, "AllPodsRun", text) if running else false(RUNNING, obstacle.reason if obstacle else state, text),
         true(conditions.RECONCILING, state, text)],
    )  # fmt: skip


def _scheduled(job: TrainingJob, pods: Sequence[Pod]) -> Condition:
    blocked = unplaced(pods)
    if blocked is not None:
        return false(SCHEDULED, blocked.reason, blocked.message)
    if len(pods) < job.spec.nodes or not all(pod.scheduled for pod in pods):
        return unknown(SCHEDULED, "PodsPending", "waiting for a node for every pod")
    return true(SCHEDULED, "AllPodsScheduled", scheduling_note(pods))


def _attempt_failed(job: TrainingJob, attempt: Job, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """Decide between another attempt and the end, once no pod of the failed attempt is left running."""
    due = _restart_due(job)
    if due is not None:
        return job.status if now < due else _next_attempt(job, now)
    if attempt.status.active or attempt.status.terminating or not all(pod.finished for pod in pods):
        text = f"attempt {job.status.attempt} failed; waiting until its pods are gone"
        return _settled(job, now, "Stopping", text, [
            true(conditions.ACCEPTED, "Valid"), false(RUNNING, "Stopping", text),
            true(conditions.RECONCILING, "Stopping", text),
        ])  # fmt: skip
    cause = cause_of(pods)
    step = job.status.checkpoint.step if job.status.checkpoint else None
    restarts = job.status.restarts
    if cause.final:
        return _failed(job, cause.reason, cause.message, now)
    if repeats(cause, step, restarts):
        return _failed(job, cause.reason, f"twice the same error with no checkpoint in between: {cause.message}", now)
    if cause.counts and restarts.counted >= job.spec.restart.max_restarts:
        text = (
            f"{cause.message} (after {restarts.counted} restarts, restart.maxRestarts {job.spec.restart.max_restarts})"
        )
        return _failed(job, cause.reason, text, now)
    return _restarting(job, cause, step, now)


def _restarting(job: TrainingJob, cause: Cause, step: int | None, now: datetime) -> TrainingJobStatus:
    last = LastRestart(
        attempt=job.status.attempt,
        reason=cause.reason,
        message=cause.message[:4096],
        rank=cause.rank,
        failed_at=conditions.timestamp(now),
        checkpoint_step=step,
    )
    before = job.status.restarts
    count = {"counted": before.counted + 1} if cause.counts else {"uncounted": before.uncounted + 1}
    restarts = before.model_copy(update={**count, "last": last})
    wait = backoff(job.spec.restart, restarts)
    start = "the beginning" if step is None else f"the checkpoint at step {step}"
    text = f"attempt {job.status.attempt} failed ({cause.reason}: {cause.message}); again in {wait:.0f} s from {start}"
    job = job.model_copy(update={"status": job.status.model_copy(update={"restarts": restarts})})
    return _settled(job, now, "Restarting", text, [
        true(conditions.ACCEPTED, "Valid"), false(RUNNING, cause.reason, cause.message),
        true(conditions.RECONCILING, "Restarting", text),
    ])  # fmt: skip


def _next_attempt(job: TrainingJob, now: datetime) -> TrainingJobStatus:
    status = job.status.model_copy(update={"attempt": job.status.attempt + 1, "progress": None})
    return _working(job.model_copy(update={"status": status}), [], now)


def _succeeded(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    artifact = next((said.artifact for pod in pods if (said := termination_of(pod)) and said.artifact), None)
    if artifact is None:
        if job.spec.output is not None:
            return _failed(job, "ArtifactLost", "the pods succeeded, but pod 0 named no artefact", now)
        return _complete(job, [], "no output was asked for", now)
    secret = job.spec.output.secret_ref if job.spec.output is not None else None
    published = ArtifactStatus.model_validate({**artifact.model_dump(), "secretRef": secret})
    job = job.model_copy(update={"status": job.status.model_copy(update={"artifact": published})})
    ready = true(conditions.ARTIFACT_READY, "Published", f"{published.uri} {published.digest}")
    broken = next((text for gate in job.spec.gates if (text := broken_gate(gate, artifact)) is not None), None)
    if broken is not None:
        return _failed(job, "GateNotMet", broken, now, [ready, false(GATE_PASSED, "GateNotMet", broken)])
    return _complete(
        job,
        [ready, true(GATE_PASSED, "AllGatesMet" if job.spec.gates else "NoGates")],
        f"published {published.uri}",
        now,
    )


def broken_gate(gate: Gate, artifact: PublishedArtifact) -> str | None:
    """Why the artefact does not pass the gate, or None when it does."""
    observed = artifact.metrics.get(gate.metric)
    if observed is None:
        known = ", ".join(sorted(artifact.metrics)) or "none"
        return f"gate {gate.metric}: no such metric was saved (there are: {known}); pass it to run.save(metrics=...)"
    value, limit = float(observed), float(gate.value)
    passed = value >= limit if gate.op == "GreaterOrEqual" else value <= limit
    bound = "at least" if gate.op == "GreaterOrEqual" else "at most"
    return None if passed else f"gate {gate.metric}: {observed} observed, {bound} {gate.value} asked for"


def _complete(job: TrainingJob, extra: Sequence[Condition], text: str, now: datetime) -> TrainingJobStatus:
    return _ended(job, "Complete", text, [*extra, true(conditions.COMPLETE, "Completed", text)], now)


def _failed(
    job: TrainingJob, reason: str, text: str, now: datetime, extra: Sequence[Condition] = ()
) -> TrainingJobStatus:
    stalled = true(conditions.STALLED, reason, text)
    return _ended(job, "Failed", text, [*extra, true(conditions.FAILED, reason, text), stalled], now)


def _ended(job: TrainingJob, state: str, text: str, found: Sequence[Condition], now: datetime) -> TrainingJobStatus:
    at_rest = [true(conditions.ACCEPTED, "Valid"), false(RUNNING, state), *found]
    return settled(job.status, job.metadata.generation, now, state, text, at_rest, ended=True)


def _at_rest(job: TrainingJob, sources: Sources) -> TrainingJobStatus:
    hint = f"; its code was edited since: delete {job.metadata.name} to train again"
    text = job.status.message.removesuffix(hint)
    if code_changed(job, sources):
        text = text[: MESSAGE_LIMIT - len(hint)] + hint
    return job.status.model_copy(update={"message": text, "observed_generation": job.metadata.generation})


def _settled(job: TrainingJob, now: datetime, state: str, text: str, found: Sequence[Condition]) -> TrainingJobStatus:
    return settled(job.status, job.metadata.generation, now, state, text, found)
