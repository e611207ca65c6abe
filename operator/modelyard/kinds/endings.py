"""What pods say of how they ended. Pure."""

from collections.abc import Sequence

from pydantic import ValidationError

from modelyard.api.pods import Pod
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


def disrupted(pod: Pod) -> bool:
    """Whether the pod has to leave its node, which is no fault of its own."""
    return disruption_of(pod) is not None


def disruption_of(pod: Pod) -> str | None:
    """Why the pod has to leave its node, as the reason of its condition says it; None: it has not."""
    return next(
        (each.reason for each in pod.status.conditions if each.type == "DisruptionTarget" and each.status == "True"),
        None,
    )


def stopped(pods: Sequence[Pod]) -> bool:
    """Whether all the pods have left their node, and so nothing goes on until the node is back."""
    return bool(pods) and all(disrupted(pod) and pod.finished for pod in pods)
