"""Pod statuses as the kubelet writes them, for each step of a pod's life. Pure.

A pod has one container; its restart count is also the number of the container's run, from 0.
"""

from datetime import datetime

from modelyard.api.conditions import timestamp
from modelyard.api.pods import (
    ContainerState,
    ContainerStatus,
    Pod,
    PodCondition,
    PodStatus,
    Running,
    Terminated,
    Waiting,
)


def unschedulable(why: str) -> PodStatus:
    """No node can take the pod."""
    return PodStatus(
        conditions=[PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=why)]
    )


def waiting(pod: Pod, why: str) -> PodStatus:
    """The pod cannot start yet."""
    state = ContainerState(waiting=Waiting(reason="ContainerCreating", message=why))
    return _with_container(pod, state)


def started(pod: Pod, note: str, now: datetime) -> PodStatus:
    """The pod's first run has begun; ``note`` is what the scheduler has to say."""
    scheduled = PodCondition(type="PodScheduled", status="True", message=note)
    state = ContainerState(running=Running(started_at=timestamp(now)))
    return _with_container(pod, state).model_copy(
        update={"phase": "Running", "start_time": timestamp(now), "conditions": [scheduled, _readiness(ready=False)]}
    )


def restarted(pod: Pod, now: datetime) -> PodStatus:
    """The container's next run has begun."""
    state = ContainerState(running=Running(started_at=timestamp(now)))
    return _with_container(pod, state, restarts=run_number(pod) + 1)


def with_readiness(pod: Pod, *, ready: bool) -> PodStatus:
    """The same, ready or not."""
    conditions = [each for each in pod.status.conditions if each.type != "Ready"]
    statuses = [each.model_copy(update={"ready": ready}) for each in pod.status.container_statuses]
    update = {"conditions": [*conditions, _readiness(ready=ready)], "container_statuses": statuses}
    return pod.status.model_copy(update=update)


def crashed(pod: Pod, how: Terminated, delay: float) -> PodStatus:
    """The container ended and will be started again after ``delay`` seconds."""
    why = Waiting(reason="CrashLoopBackOff", message=f"again in {delay:.0f} s")
    pod = pod.model_copy(update={"status": with_readiness(pod, ready=False)})
    return _with_container(pod, ContainerState(waiting=why), last=ContainerState(terminated=how))


def finished(pod: Pod, how: Terminated) -> PodStatus:
    """The container ended for good."""
    pod = pod.model_copy(update={"status": with_readiness(pod, ready=False)})
    phase = "Succeeded" if how.exit_code == 0 else "Failed"
    return _with_container(pod, ContainerState(terminated=how)).model_copy(update={"phase": phase})


def never_started(pod: Pod) -> PodStatus:
    """The pod was stopped before it ran."""
    return pod.status.model_copy(update={"phase": "Failed", "reason": "Stopped"})


def disrupted(pod: Pod) -> PodStatus:
    """The pod ends because the node goes down, which no Job counts as a failure."""
    condition = PodCondition(type="DisruptionTarget", status="True", reason="NodeShutdown")
    conditions = [each for each in pod.status.conditions if each.type != condition.type]
    return pod.status.model_copy(update={"conditions": [*conditions, condition]})


def run_number(pod: Pod) -> int:
    """The number of the container's current or last run."""
    return pod.status.container_statuses[0].restart_count if pod.status.container_statuses else 0


def crash_looping(pod: Pod) -> bool:
    """Whether the container waits for its next run."""
    return any(each.state.waiting is not None for each in pod.status.container_statuses)


def _readiness(*, ready: bool) -> PodCondition:
    return PodCondition(type="Ready", status="True" if ready else "False")


def _with_container(
    pod: Pod, state: ContainerState, *, restarts: int | None = None, last: ContainerState | None = None
) -> PodStatus:
    before = pod.status.container_statuses[0] if pod.status.container_statuses else None
    container = ContainerStatus(
        name=pod.spec.containers[0].name,
        restart_count=run_number(pod) if restarts is None else restarts,
        state=state,
        last_state=last or (before.last_state if before is not None else ContainerState()),
    )
    return pod.status.model_copy(update={"container_statuses": [container]})
