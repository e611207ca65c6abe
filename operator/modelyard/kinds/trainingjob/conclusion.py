"""How a TrainingJob ends: with an artefact that passes its gates, or with the reason why not. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.api import conditions
from modelyard.api.children import Sources
from modelyard.api.conditions import Condition, false, true
from modelyard.api.pods import Pod
from modelyard.api.resource import MESSAGE_LIMIT, settled
from modelyard.contract.reports import PublishedArtifact
from modelyard.kinds.endings import termination_of
from modelyard.kinds.trainingjob.accounts import charged
from modelyard.kinds.trainingjob.desired import code_changed
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.options import Gate
from modelyard.kinds.trainingjob.status import ArtifactStatus, TrainingJobStatus

RUNNING = "Running"
GATE_PASSED = "GatePassed"


def succeeded(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """The end of a job whose last attempt is complete."""
    job = job.model_copy(update={"status": charged(job, pods, now, kept_step=None)})
    artifact = next((said.artifact for pod in pods if (said := termination_of(pod)) and said.artifact), None)
    if artifact is None:
        if job.spec.output is not None:
            return failed(job, "ArtifactLost", "the pods succeeded, but pod 0 named no artefact", now)
        return _complete(job, [], "no output was asked for", now)
    secret = job.spec.output.secret_ref if job.spec.output is not None else None
    published = ArtifactStatus.model_validate({**artifact.model_dump(), "secretRef": secret})
    job = job.model_copy(update={"status": job.status.model_copy(update={"artifact": published})})
    ready = true(conditions.ARTIFACT_READY, "Published", f"{published.uri} {published.digest}")
    broken = next((text for gate in job.spec.gates if (text := broken_gate(gate, artifact)) is not None), None)
    if broken is not None:
        return failed(job, "GateNotMet", broken, now, [ready, false(GATE_PASSED, "GateNotMet", broken)])
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


def failed(
    job: TrainingJob, reason: str, text: str, now: datetime, extra: Sequence[Condition] = ()
) -> TrainingJobStatus:
    """The end of a job that hands nothing on."""
    stalled = true(conditions.STALLED, reason, text)
    return _ended(job, "Failed", text, [*extra, true(conditions.FAILED, reason, text), stalled], now)


def _ended(job: TrainingJob, state: str, text: str, found: Sequence[Condition], now: datetime) -> TrainingJobStatus:
    known = [true(conditions.ACCEPTED, "Valid"), false(RUNNING, state), *found]
    return settled(job.status, job.metadata.generation, now, state, text, known, ended=True)


def cleanup_due(job: TrainingJob) -> datetime | None:
    """When the children go, if they do and still are there."""
    ttl, end = job.spec.cleanup.ttl_seconds_after_finished, job.status.completion_time
    if ttl is None or end is None or job.status.cleaned_up:
        return None
    return conditions.parse_timestamp(end) + timedelta(seconds=ttl)


def at_rest(job: TrainingJob, sources: Sources, now: datetime) -> TrainingJobStatus:
    """The status of a job that ended: it changes no more, but for a hint that its code was edited, and the cleanup."""
    due = cleanup_due(job)
    hint = f"; its code was edited since: delete {job.metadata.name} to train again"
    text = job.status.message.removesuffix(hint)
    if code_changed(job, sources):
        text = text[: MESSAGE_LIMIT - len(hint)] + hint
    return job.status.model_copy(
        update={
            "message": text,
            "observed_generation": job.metadata.generation,
            "cleaned_up": job.status.cleaned_up or (due is not None and now >= due),
        }
    )
