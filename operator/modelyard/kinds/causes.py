"""Why an attempt failed, from what its pods left. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.pods import Pod
from modelyard.contract.reports import FINAL_REASONS
from modelyard.kinds.endings import disruption_of, termination_of

CONSEQUENCES = frozenset({"PeerLost", "RendezvousTimeout", "Terminated"})
"""What pods say that only failed because another one did."""
UNCOUNTED = frozenset({"Preempted"})
"""Causes that are nobody's fault: they never count against restart.maxRestarts."""
NODE_LOSSES = frozenset({"DeletionByTaintManager", "DeletionByPodGC", "NodeLost"})
"""Reasons of a disruption, or of a pod's end, when its node is gone."""


@dataclass(frozen=True)
class Cause:
    """The root cause of a failed attempt."""

    reason: str
    message: str
    rank: int | None = None
    exit_code: int | None = None
    """The first failing rank's, where it is known; else the pod's."""
    node: str | None = None
    """The node of the pod that failed first."""

    @property
    def final(self) -> bool:
        """Whether another attempt would only repeat it."""
        return self.reason in FINAL_REASONS


def cause_of(pods: Sequence[Pod]) -> Cause:
    """The root cause among the pods of a failed attempt: what failed by itself before what failed with it.

    A pod that had to leave its node comes before all, since nothing else can be the cause of that.
    """
    return _first_cause(pods) or Cause("PodLost", "a pod of the attempt is gone without a word")


def noticed(pods: Sequence[Pod], before: Cause | None) -> Cause | None:
    """The cause as far as it shows while pods still end, since those that are deleted take their last words along.

    What was noticed before stays, unless what shows now explains it.
    """
    now = _first_cause(pods)
    if now is None or (before is not None and _weight(now) <= _weight(before)):
        return before
    return now


def _weight(cause: Cause) -> int:
    if cause.reason in ("Preempted", "NodeLost"):
        return 2
    return 0 if cause.reason in ("PodLost", "RendezvousTimeout") else 1


def _first_cause(pods: Sequence[Pod]) -> Cause | None:
    moved = next((cause for pod in pods if (cause := _moved(pod)) is not None), None)
    if moved is not None:
        return moved
    causes = [cause for pod in pods if (cause := _cause(pod)) is not None]
    root = next((cause for cause in causes if cause.reason not in CONSEQUENCES), None)
    if root is not None:
        return root
    removed = next((pod for pod in pods if _told_to_end(pod)), None)
    if removed is not None:
        name, node = removed.metadata.name, removed.spec.node_name
        return Cause("PodLost", f"pod {name} was deleted while it ran", node=node)
    return next((cause for cause in causes if cause.reason == "RendezvousTimeout"), None)


def _moved(pod: Pod) -> Cause | None:
    why = disruption_of(pod)
    if why is None:
        return None
    name, node = pod.metadata.name, pod.spec.node_name
    if why in NODE_LOSSES:
        return Cause("NodeLost", f"the node of pod {name} is gone", node=node)
    return Cause("Preempted", "the pods had to leave their node" + (f" ({why})" if why else ""), node=node)


def _told_to_end(pod: Pod) -> bool:
    said = termination_of(pod)
    return pod.metadata.deletion_timestamp is not None or (said is not None and said.reason == "Terminated")


def _cause(pod: Pod) -> Cause | None:
    ended = pod.terminated
    said = termination_of(pod)
    name, node = pod.metadata.name, pod.spec.node_name
    code = ended.exit_code if ended is not None else None
    if ended is not None and ended.reason == "OOMKilled":
        # The kernel may have taken one rank only, of which the launcher then tells that it was killed.
        who = f"rank {said.rank} in pod {name}" if said is not None and said.rank is not None else f"pod {name}"
        text = f"{who} used more memory than its limit; raise resources.limits"
        return Cause("OOMKilled", text, said.rank if said is not None else None, code, node)
    if said is not None and said.outcome != "Succeeded":
        return Cause(said.reason, said.message, said.rank, code if said.exit_code is None else said.exit_code, node)
    if code in (None, 0):
        return None
    return Cause("PodLost", f"pod {name} ended with code {code} without a word", exit_code=code, node=node)
