"""What an attempt cost, and how much of that was of use. Pure."""

from collections.abc import Sequence
from datetime import datetime

from modelyard.api.conditions import parse_timestamp
from modelyard.api.pods import Pod
from modelyard.api.quantities import parse_quantity
from modelyard.contract.decimals import decimal
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.status import Cost, TrainingJobStatus


def active_seconds(status: TrainingJobStatus, now: datetime) -> float:
    """Seconds in which all pods ran, over all attempts."""
    current = (now - parse_timestamp(status.running_since)).total_seconds() if status.running_since else 0.0
    return status.cost.active_seconds + max(0.0, current)


def charged(job: TrainingJob, pods: Sequence[Pod], now: datetime, *, kept_step: int | None) -> TrainingJobStatus:
    """``job.status`` with the current attempt, which ended, added to the cost, and no longer running.

    ``kept_step`` is the step that a following attempt starts from; None: every step was kept.
    """
    status, before = job.status, job.status.cost
    began = parse_timestamp(status.attempt_start_time) if status.attempt_start_time else now
    spent = sum(_seconds(pod, began, now) for pod in pods)
    spent += max(0, job.spec.nodes - len(pods)) * max(0.0, (now - began).total_seconds())
    node_seconds = before.node_seconds + round(spent)
    productive = before.productive_seconds + round(_productive(status, job.spec.nodes, now, kept_step))
    resources = job.spec.resources
    cores = parse_quantity(resources.requests.get("cpu") or resources.limits.get("cpu") or "0")
    gpus = job.spec.accelerator.count if job.spec.accelerator is not None else 0
    cost = Cost(
        active_seconds=round(active_seconds(status, now)),
        node_seconds=node_seconds,
        cpu_seconds=before.cpu_seconds + round(spent * cores),
        gpu_seconds=before.gpu_seconds + round(spent * gpus),
        productive_seconds=min(productive, node_seconds),
        productive_ratio=decimal(min(1.0, productive / node_seconds), digits=3) if node_seconds else None,
    )
    return status.model_copy(update={"cost": cost, "running_since": None})


def _seconds(pod: Pod, began: datetime, now: datetime) -> float:
    start = parse_timestamp(pod.status.start_time) if pod.status.start_time else began
    ended = pod.terminated
    end = parse_timestamp(ended.finished_at) if ended is not None and ended.finished_at else now
    return max(0.0, (end - start).total_seconds())


def _productive(status: TrainingJobStatus, nodes: int, now: datetime, kept_step: int | None) -> float:
    """Pod seconds of the steps that were kept, taking all steps of the attempt as equally long."""
    progress = status.progress
    if progress is None or status.first_step_time is None:
        return 0.0
    until = now if kept_step is None else parse_timestamp(progress.last_heartbeat)
    trained = max(0.0, (until - parse_timestamp(status.first_step_time)).total_seconds())
    begun = progress.resumed_step or 0
    made = progress.step - begun
    if made <= 0:
        return 0.0
    kept = made if kept_step is None else min(made, max(0, kept_step - begun))
    return nodes * trained * kept / made
