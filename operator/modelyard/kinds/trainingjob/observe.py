"""The status of a TrainingJob, from its children. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.conditions import Condition, false, true, unknown
from modelyard.api.pods import Pod
from modelyard.api.resource import settled
from modelyard.api.workloads import Job
from modelyard.kinds.causes import cause_of
from modelyard.kinds.endings import stopped
from modelyard.kinds.placement import scheduling_note, stuck, unplaced, waits_for
from modelyard.kinds.trainingjob.accounts import charged
from modelyard.kinds.trainingjob.attempts import SUSPENDED, current_attempt, ended, job_of, lost, stopping
from modelyard.kinds.trainingjob.conclusion import RUNNING, at_rest, cleanup_due, failed, succeeded
from modelyard.kinds.trainingjob.desired import missing
from modelyard.kinds.trainingjob.halts import deadline, halt, start_deadline
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.restart import backoff, verdict, without
from modelyard.kinds.trainingjob.seen import as_cause, begun, seen, started
from modelyard.kinds.trainingjob.status import Halt, LastRestart, TrainingJobStatus

SCHEDULED = "Scheduled"
SILENT_SECONDS = 60


def observe(job: TrainingJob, sources: Sources, children: Children, now: datetime) -> TrainingJobStatus:
    """Where the job stands. A finished job's status changes no more, but for a hint that its code was edited."""
    if job.status.completion_time is not None:
        return at_rest(job, sources, now)
    number = current_attempt(job)
    attempt = job_of(job, children, number)
    pods = children.of_attempt(number)
    if attempt is None and not stopping(job):
        return _waiting(job, sources, now)
    if job.status.attempt == 0 and stopping(job):
        return _suspended(job, now)
    if job.status.attempt != number:
        job = _with(job, begun(job.status, number))
    job = _with(job, seen(job, attempt, children, now))
    if attempt is not None and attempt.condition("Complete"):
        return succeeded(job, pods, now)
    if attempt is not None and (ended(attempt) or lost(job, pods)):
        return _failed(job, pods, now)
    return _going_on(job, attempt, pods, now)


def _going_on(job: TrainingJob, attempt: Job | None, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """The attempt works, or is being ended before it ends by itself."""
    why = job.status.halt or halt(job, attempt, pods, now)
    if why is None:
        return _suspended(job, now) if job.spec.suspend else _working(job, attempt, pods, now)
    job = _with(job, job.status.model_copy(update={"halt": why}))
    if attempt is None and all(pod.finished for pod in pods):
        return _stopped(job, why, pods, now)
    state = "Suspending" if why.reason == SUSPENDED else "Stopping"
    return _ending(job, now, state, f"{why.message}; waiting until the pods are gone")


def revisit(job: TrainingJob, now: datetime) -> float | None:
    """Seconds until a restart, a deadline or the cleanup is due."""
    if job.status.completion_time is not None:
        due = [cleanup_due(job)]
    elif stopping(job):
        due = [_restart_due(job)]
    else:
        due = [_restart_due(job), deadline(job), start_deadline(job), _starting_until(job, now)]
    seconds = [max(0.0, (each - now).total_seconds()) for each in due if each is not None]
    return min(seconds, default=None)


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
        return _working(job, None, [], now)
    text = f"{absent.field}: {absent.key.kind} {absent.key.name!r} not found; create it in the same namespace"
    refused = false(conditions.ACCEPTED, f"{absent.key.kind}NotFound", text)
    return _settled(job, now, "Waiting", text, [refused, true(conditions.RECONCILING, "Waiting", text)])


def _working(job: TrainingJob, attempt: Job | None, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    least = job.spec.elastic.min_nodes if job.spec.elastic is not None else job.spec.nodes
    scheduled = _scheduled(pods, least)
    count = sum(started(pod) for pod in pods)
    running = count >= least
    obstacle = stuck(pods)
    if attempt is not None and attempt.condition("Suspended"):
        running, state, text = False, "Queued", _queued(job)
    elif scheduled.status == "False":
        state, text = "Pending", scheduled.message
    elif stopped(pods):
        running, state, text = False, "Stopped", "the pods had to leave their node; goes on when it is back"
    elif running:
        state, text = stage(job, now)
    else:
        text = f"attempt {max(1, job.status.attempt)}, {count} of {job.spec.nodes} pods run{waits_for(pods)}"
        state = "Starting"
    return _settled(
        job, now, state, text,
        [true(conditions.ACCEPTED, "Valid"), scheduled,
         true(RUNNING, "AllPodsRun", text) if running else false(RUNNING, obstacle.reason if obstacle else state, text),
         true(conditions.RECONCILING, state, text)],
    )  # fmt: skip


def stage(job: TrainingJob, now: datetime) -> tuple[str, str]:
    """What ranks do whose pods all run: they train, or are not yet that far. A script that never reports just runs."""
    status = job.status
    ranks = f"{status.nodes.world_size if status.nodes is not None else 0} ranks"
    doing = status.progress.stage if status.progress is not None else "Starting"
    in_place = status.restarts.last_in_place
    if doing == "Restarting" and in_place is not None:
        return "Restarting", f"attempt {status.attempt}, {ranks} start again in place: {in_place.message}"
    due = _silent_until(job)
    if doing == "Starting" and due is not None and now < due:
        return "Starting", f"attempt {status.attempt}, {ranks} start"
    return "Running", f"attempt {status.attempt}, {ranks}"


def _silent_until(job: TrainingJob) -> datetime | None:
    """Until when ranks that have not reported yet are said to start: a minute, by then they may be of a silent kind."""
    since = job.status.running_since
    if since is None or (job.status.progress is not None and job.status.progress.stage != "Starting"):
        return None
    return conditions.parse_timestamp(since) + timedelta(seconds=SILENT_SECONDS)


def _starting_until(job: TrainingJob, now: datetime) -> datetime | None:
    due = _silent_until(job) if job.status.state == "Starting" else None
    return due if due is not None and due > now else None


def _queued(job: TrainingJob) -> str:
    queue = job.spec.scheduling.queue
    who = f"queue {queue} has" if queue is not None else "somebody has"
    return f"attempt {job.status.attempt} waits: {who} suspended its Job"


def _scheduled(pods: Sequence[Pod], least: int) -> Condition:
    blocked = unplaced(pods)
    if blocked is not None:
        return false(SCHEDULED, blocked.reason, blocked.message)
    if sum(pod.scheduled for pod in pods) < least:
        return unknown(SCHEDULED, "PodsPending", "waiting for a node for every pod")
    return true(SCHEDULED, "AllPodsScheduled", scheduling_note(pods))


def _failed(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """Decide between another attempt and the end, once no pod of the failed attempt is left running."""
    if _restart_due(job) is not None:
        return _between(job, now)
    if not all(pod.finished for pod in pods):
        text = f"attempt {job.status.attempt} failed; waiting until its pods are gone"
        return _ending(job, now, "Stopping", text)
    return _decided(job, pods, now)


def _stopped(job: TrainingJob, why: Halt, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """What follows once the pods that were told to end are gone."""
    if _restart_due(job) is not None:
        return _between(job, now)
    if why.reason == SUSPENDED:
        kept = job.status.checkpoint.step if job.status.checkpoint else 0
        return _suspended(_with(job, charged(job, pods, now, kept_step=kept)), now)
    if why.final:
        return failed(_with(job, charged(job, pods, now, kept_step=0)), why.reason, why.message, now)
    return _decided(job, pods, now)


def _decided(job: TrainingJob, pods: Sequence[Pod], now: datetime) -> TrainingJobStatus:
    """What follows a failed attempt of which no pod is left."""
    seen_first = job.status.failure
    cause = cause_of(pods) if seen_first is None else as_cause(seen_first)
    failed_at = conditions.timestamp(now) if seen_first is None else seen_first.time
    status = job.status
    checkpoint = status.checkpoint.step if status.checkpoint else None
    job = _with(job, charged(job, pods, now, kept_step=checkpoint or 0))
    found = verdict(cause, job.spec.restart, status.restarts, checkpoint)
    if found.end is not None:
        return failed(job, cause.reason, found.end, now)
    reached = status.progress.step if status.progress is not None else 0
    last = LastRestart(
        attempt=status.attempt,
        reason=cause.reason,
        message=cause.message[:4096],
        rank=cause.rank,
        node=cause.node,
        failed_at=failed_at,
        step=reached,
        checkpoint_step=checkpoint,
        lost_steps=max(0, reached - (checkpoint or 0)),
    )
    before = status.restarts
    count = {"counted": before.counted + 1} if found.counts else {"uncounted": before.uncounted + 1}
    update: dict[str, object] = {"restarts": before.model_copy(update={**count, "last": last})}
    if found.exclude_node:
        update["excluded_nodes"] = without(status.excluded_nodes, cause.node)
    return _restarting(_with(job, job.status.model_copy(update=update)), last, now)


def _between(job: TrainingJob, now: datetime) -> TrainingJobStatus:
    """Between a failed attempt and the next one, which a suspended job waits for."""
    due = _restart_due(job)
    if job.spec.suspend:
        return _suspended(job, now)
    if due is not None and now >= due:
        return _working(_with(job, begun(job.status, job.status.attempt + 1)), None, [], now)
    return job.status


def _restarting(job: TrainingJob, last: LastRestart, now: datetime) -> TrainingJobStatus:
    step = last.checkpoint_step
    start = "the beginning" if step is None else f"the checkpoint at step {step}"
    wait = backoff(job.spec.restart, job.status.restarts)
    text = f"attempt {last.attempt} failed ({last.reason}: {last.message}); again in {wait:.0f} s from {start}"
    return _settled(job, now, "Restarting", text, [
        true(conditions.ACCEPTED, "Valid"), false(RUNNING, last.reason, last.message),
        true(conditions.RECONCILING, "Restarting", text),
    ])  # fmt: skip


def _suspended(job: TrainingJob, now: datetime) -> TrainingJobStatus:
    step = job.status.checkpoint.step if job.status.checkpoint else None
    start = "the beginning" if step is None else f"the checkpoint at step {step}"
    text = f"goes on from {start} when spec.suspend is false"
    job = _with(job, job.status.model_copy(update={"halt": None}))
    return _settled(job, now, "Suspended", text, [
        true(conditions.ACCEPTED, "Valid"), false(RUNNING, "Suspended", text), true(SUSPENDED, "Suspended", text),
    ])  # fmt: skip


def _ending(job: TrainingJob, now: datetime, state: str, text: str) -> TrainingJobStatus:
    return _settled(job, now, state, text, [
        true(conditions.ACCEPTED, "Valid"), false(RUNNING, state, text), true(conditions.RECONCILING, state, text),
    ])  # fmt: skip


def _settled(job: TrainingJob, now: datetime, state: str, text: str, found: Sequence[Condition]) -> TrainingJobStatus:
    before = conditions.find(job.status.conditions, SUSPENDED)
    if before is not None and all(each.type != SUSPENDED for each in found):
        found = [*found, false(SUSPENDED, "Resumed")]
    return settled(job.status, job.metadata.generation, now, state, text, found)


def _with(job: TrainingJob, status: TrainingJobStatus) -> TrainingJob:
    return job.model_copy(update={"status": status})
