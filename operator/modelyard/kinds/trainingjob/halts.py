"""When an attempt is ended before its pods end by themselves. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.api.conditions import is_true, parse_timestamp, timestamp
from modelyard.api.pods import Pod
from modelyard.api.workloads import Job
from modelyard.kinds.causes import cause_of
from modelyard.kinds.placement import stuck, unplaced
from modelyard.kinds.trainingjob.attempts import SUSPENDED
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.seen import hosts, started
from modelyard.kinds.trainingjob.status import Halt


def deadline(job: TrainingJob) -> datetime | None:
    """When activeDeadlineSeconds is over, while the pods run."""
    limit, since = job.spec.active_deadline_seconds, job.status.running_since
    if limit is None or since is None:
        return None
    return parse_timestamp(since) + timedelta(seconds=limit - job.status.cost.active_seconds)


def start_deadline(job: TrainingJob) -> datetime | None:
    """When startDeadlineSeconds is over, while not all pods of the attempt have run."""
    limit, asked = job.spec.start_deadline_seconds, job.status.attempt_start_time
    if limit is None or asked is None or job.status.running_since is not None:
        return None
    return parse_timestamp(asked) + timedelta(seconds=limit)


def halt(job: TrainingJob, attempt: Job | None, pods: Sequence[Pod], now: datetime) -> Halt | None:
    """Why the attempt has to be ended now, or None."""
    if job.spec.suspend:
        if is_true(job.status.conditions, SUSPENDED):
            return None
        text = "suspended; the pods have the time for a last checkpoint"
        return Halt(reason=SUSPENDED, message=text, time=timestamp(now))
    over = deadline(job)
    if over is not None and now >= over:
        text = f"ran longer than activeDeadlineSeconds {job.spec.active_deadline_seconds}, all attempts together"
        return Halt(reason="DeadlineExceeded", message=text, final=True, time=timestamp(now))
    late = start_deadline(job)
    if late is not None and now >= late:
        return Halt(reason="StartDeadlineExceeded", message=_late(job, pods), final=True, time=timestamp(now))
    if job.spec.elastic is not None and attempt is not None:
        return _without_host(pods, now)
    return None


def _late(job: TrainingJob, pods: Sequence[Pod]) -> str:
    obstacle = unplaced(pods) or stuck(pods)
    count = f"{sum(started(pod) for pod in pods)} of {job.spec.nodes} pods ran"
    limit = f"after startDeadlineSeconds {job.spec.start_deadline_seconds}, and what they held is freed"
    return f"{count} {limit}" + (f": {obstacle.message}" if obstacle is not None else "")


def _without_host(pods: Sequence[Pod], now: datetime) -> Halt | None:
    """An elastic attempt goes on without any pod but the one with index 0, which hosts the rendezvous."""
    lost = [pod for pod in hosts(pods) if pod.status.phase == "Failed" or pod.metadata.deletion_timestamp is not None]
    if not lost:
        return None
    cause = cause_of(lost)
    return Halt(reason=cause.reason, message=cause.message, time=timestamp(now))
