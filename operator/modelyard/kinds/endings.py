"""What pods say of how they ended, and why they cannot start. Pure."""

from collections.abc import Sequence

from pydantic import ValidationError

from modelyard.api.pods import Pod, PodCondition
from modelyard.contract.reports import Termination


def termination_of(pod: Pod) -> Termination | None:
    """What the pod said when it last ended, if it said something readable."""
    ended = pod.terminated
    if ended is None or not ended.message:
        return None
    try:
        return Termination.model_validate_json(ended.message)
    except ValidationError:
        return None


def unschedulable(pods: Sequence[Pod]) -> PodCondition | None:
    """The first pod's condition that says that no node can take it."""
    return next(
        (
            condition
            for pod in pods
            for condition in pod.status.conditions
            if condition.type == "PodScheduled" and condition.status == "False"
        ),
        None,
    )


def scheduling_note(pods: Sequence[Pod]) -> str:
    """What the scheduler said of pods that it placed, such as what this machine cannot do for them."""
    return next(
        (
            condition.message
            for pod in pods
            for condition in pod.status.conditions
            if condition.type == "PodScheduled" and condition.status == "True" and condition.message
        ),
        "",
    )


def disrupted(pod: Pod) -> bool:
    """Whether the pod has to leave its node, which is no fault of its own."""
    return any(each.type == "DisruptionTarget" and each.status == "True" for each in pod.status.conditions)


def stopped(pods: Sequence[Pod]) -> bool:
    """Whether all the pods have left their node, and so nothing goes on until the node is back."""
    return bool(pods) and all(disrupted(pod) and pod.finished for pod in pods)


def waits_for(pods: Sequence[Pod]) -> str:
    """What the first pod that cannot start waits for, as the kubelet says it; empty where it says nothing."""
    states = [status.state.waiting for pod in pods for status in pod.status.container_statuses]
    return next((f": {waiting.message}" for waiting in states if waiting is not None and waiting.message), "")
