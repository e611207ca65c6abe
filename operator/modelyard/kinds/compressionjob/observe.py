"""The status of a CompressionJob, from its source and its Job. Pure."""

from collections.abc import Sequence
from datetime import datetime

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.conditions import Condition, false, true
from modelyard.api.pods import Pod
from modelyard.api.resource import settled
from modelyard.api.workloads import Job
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.kinds.causes import cause_of
from modelyard.kinds.compressionjob.desired import COMPONENT, child_name, missing, references, source_of
from modelyard.kinds.compressionjob.model import CompressionJob
from modelyard.kinds.compressionjob.parallel import by_say, last_word
from modelyard.kinds.compressionjob.status import CompressedArtifact, CompressionJobStatus, CompressionProgress
from modelyard.kinds.compressionjob.suspension import held, noted, suspended
from modelyard.kinds.compressionjob.tuning import COMPONENT as TUNER
from modelyard.kinds.compressionjob.tuning import tuned, tuner_name
from modelyard.kinds.endings import stopped, termination_of
from modelyard.kinds.handoff import handoff
from modelyard.kinds.placement import stuck, unplaced, waits_for

MESSAGE_LIMIT = 4096
RUNNING = "Running"
EVALUATED = "Evaluated"
TUNED = "Tuned"
GATES_PASSED = "GatesPassed"


def observe(job: CompressionJob, sources: Sources, children: Children, now: datetime) -> CompressionJobStatus:
    """Where the job stands. A finished job's status changes no more."""
    if job.status.completion_time is not None:
        return _hinting(job, sources)
    return suspended(job, children, now) if held(job, children) else noted(job, _seen(job, sources, children, now), now)


def _seen(job: CompressionJob, sources: Sources, children: Children, now: datetime) -> CompressionJobStatus:
    tuner, child = children.find(Job, tuner_name(job)), children.find(Job, child_name(job))
    if child is not None:
        return _compressing(job, child, sources, children, now)
    if tuner is not None:
        return _tuning(job, tuner, sources, children, now)
    return _waiting(job, sources, now)


def _compressing(
    job: CompressionJob, child: Job, sources: Sources, children: Children, now: datetime
) -> CompressionJobStatus:
    pods = by_say(_pods_of(COMPONENT, children))
    job = _started(job, sources, pods, children, now)
    said = last_word(pods)
    complete, failed = child.condition("Complete"), child.condition("Failed")
    if said is not None and (complete or failed):
        return _ended(job, said, now)
    if complete:
        return _failed(job, "ArtifactLost", "the pod succeeded without a word of its result", now)
    if failed:
        text = f"{failed.message or failed.reason}; the pod ended without a word"
        return _failed(job, "PodLost", text, now)
    return _working(job, pods, now)


def _pods_of(component: str, children: Children) -> list[Pod]:
    """The pods of that component, the oldest first."""
    found = children.labelled("app.kubernetes.io/name", component)
    return sorted(found, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name))


def _tuning(
    job: CompressionJob, tuner: Job, sources: Sources, children: Children, now: datetime
) -> CompressionJobStatus:
    """The model is pruned or factorised, and fine-tuned; what comes of that is pinned."""
    pods = _pods_of(TUNER, children)
    job = _started(job, sources, pods, children, now)
    if tuner.condition("Failed"):
        cause = cause_of([pod for pod in reversed(pods) if pod.failed])
        return _failed(job, cause.reason, f"tuning: {cause.message}", now)
    if not tuner.condition("Complete"):
        return _working(job, pods, now, "spec.tuning.resources", "tuning: ")
    said = (termination_of(pod) for pod in reversed(pods))
    found = next((made for each in said if each is not None and (made := tuned(job, each))), None)
    if found is None:
        return _failed(job, "ArtifactLost", "tuning: the pods succeeded without a word of what they published", now)
    job = job.model_copy(update={"status": job.status.model_copy(update={"tuned": found, "progress": None})})
    return _working(job, (), now)


def _tuned(job: CompressionJob) -> list[Condition]:
    names = ", ".join(each.name for each in job.status.tuned)
    return [true(TUNED, "Published", names)] if names else []


def _hinting(job: CompressionJob, sources: Sources) -> CompressionJobStatus:
    """The status of a finished job, with a hint while its source has another artefact to give."""
    hint = f"; its source has a new artefact: delete {job.metadata.name} to compress that"
    reference = next((each for each in references(job) if each.key.kind == "TrainingJob"), None)
    given = handoff(reference, sources).artifact if reference is not None else None
    new = given is not None and job.status.source is not None and given.digest != job.status.source.digest
    text = job.status.message.removesuffix(hint)
    text = text[: MESSAGE_LIMIT - len(hint)] + hint if new else text
    return job.status.model_copy(update={"message": text, "observed_generation": job.metadata.generation})


def revisit(_job: CompressionJob, _now: datetime) -> float | None:
    """Nothing is due by time alone."""
    return None


def _waiting(job: CompressionJob, sources: Sources, now: datetime) -> CompressionJobStatus:
    found = source_of(job, sources)
    reason: str
    if found.artifact is None:
        reason, text = found.reason, found.message
    elif (absent := missing(job, sources)) is not None:
        reason = f"{absent.key.kind}NotFound"
        text = f"{absent.field}: {absent.key.kind} {absent.key.name!r} not found; create it in the same namespace"
    else:
        reason, text = "Starting", "the Job is being created"
    accepted = not reason.endswith("NotFound")
    return settled(
        job.status, job.metadata.generation, now, "Blocked" if found.over else "Waiting", text,
        [true(conditions.ACCEPTED, "Valid") if accepted else false(conditions.ACCEPTED, reason, text),
         false(RUNNING, reason, text),
         true(conditions.STALLED if found.over else conditions.RECONCILING, reason, text)],
    )  # fmt: skip


def _started(
    job: CompressionJob, sources: Sources, pods: Sequence[Pod], children: Children, now: datetime
) -> CompressionJob:
    status = job.status
    report = next(
        (children.progress[pod.metadata.name] for pod in reversed(pods) if pod.metadata.name in children.progress), None
    )
    changes = {
        "start_time": status.start_time or conditions.timestamp(now),
        "source": status.source or source_of(job, sources).artifact,
        "memory": report.memory or status.memory if report is not None else status.memory,
        "progress": _progress(report) if report is not None else status.progress,
    }
    return job.model_copy(update={"status": status.model_copy(update=changes)})


def _progress(report: ProgressReport) -> CompressionProgress:
    return CompressionProgress(stage=report.stage, step=report.step, total_steps=report.total_steps)


def _working(
    job: CompressionJob,
    pods: Sequence[Pod],
    now: datetime,
    resources: str = "spec.target.resources",
    doing: str = "",
) -> CompressionJobStatus:
    """``resources`` is the field that asks for the pods', and ``doing`` stands before what they say that they do."""
    blocked = unplaced(pods, resources)
    running = any(pod.ready or pod.finished for pod in pods)
    if blocked is not None:
        state, reason, text = "Pending", blocked.reason, blocked.message
    elif stopped(pods):
        running, state, reason = False, "Stopped", "NodeShutdown"
        text = "the pod had to leave its node; starts again when it is back"
    elif running:
        state, reason = "Running", "PodRuns"
        text = doing + (job.status.progress.stage.lower() if job.status.progress else "starting")
    else:
        obstacle = stuck(pods)
        reason = obstacle.reason if obstacle is not None else "PodStarts"
        state, text = "Starting", f"{doing}the pod starts{waits_for(pods)}"
    return settled(
        job.status, job.metadata.generation, now, state, text,
        [true(conditions.ACCEPTED, "Valid"),
         true(RUNNING, reason, text) if running else false(RUNNING, reason, text),
         *_tuned(job),
         true(conditions.RECONCILING, state, text)],
    )  # fmt: skip


def _ended(job: CompressionJob, said: Termination, now: datetime) -> CompressionJobStatus:
    job = job.model_copy(
        update={
            "status": job.status.model_copy(
                update={
                    "memory": said.memory or job.status.memory,
                    "environment": said.environment,
                    "baseline": said.baseline,
                    "selected": said.selected,
                    "gates": said.gates,
                    "trials": said.trials,
                    "pareto": said.pareto,
                    "report": said.report,
                }
            )
        }
    )
    evaluated = [true(EVALUATED, "Measured")] if said.selected is not None else []
    match said.outcome:
        case "Succeeded":
            return _succeeded(job, said, evaluated, now)
        case "Rejected":
            found = [
                *evaluated,
                false(GATES_PASSED, said.reason, said.message),
                true(conditions.REJECTED, said.reason, said.message),
                true(conditions.STALLED, said.reason, said.message),
            ]
            return _at_rest(job, "Rejected", said.message, found, now)
        case "Failed":
            return _failed(job, said.reason, said.message, now, evaluated)


def _succeeded(
    job: CompressionJob, said: Termination, evaluated: Sequence[Condition], now: datetime
) -> CompressionJobStatus:
    if said.artifact is None or job.status.source is None:
        return _failed(job, "ArtifactLost", "the pod succeeded, but named no artefact", now)
    artifact = CompressedArtifact.model_validate(
        {
            **said.artifact.model_dump(),
            "parentDigest": job.status.source.digest,
            "secretRef": job.spec.output.secret_ref,
        }
    )
    job = job.model_copy(update={"status": job.status.model_copy(update={"artifact": artifact})})
    held = all(gate.passed for gate in said.gates)
    gates_passed = true(GATES_PASSED, "AllGatesMet" if said.gates else "NoGates")
    found = [
        *evaluated,
        gates_passed if held else false(GATES_PASSED, said.reason, said.message),
        true(conditions.ARTIFACT_READY, "Published", f"{artifact.uri} {artifact.digest}"),
        true(conditions.COMPLETE, "Completed", said.message),
    ]
    return _at_rest(job, "Complete", said.message, found, now)


def _failed(
    job: CompressionJob, reason: str, text: str, now: datetime, extra: Sequence[Condition] = ()
) -> CompressionJobStatus:
    found = [*extra, true(conditions.FAILED, reason, text), true(conditions.STALLED, reason, text)]
    return _at_rest(job, "Failed", text, found, now)


def _at_rest(
    job: CompressionJob, state: str, text: str, found: Sequence[Condition], now: datetime
) -> CompressionJobStatus:
    at_rest = [true(conditions.ACCEPTED, "Valid"), false(RUNNING, state), *_tuned(job), *found]
    return settled(job.status, job.metadata.generation, now, state, text, at_rest, ended=True)
