"""Why an attempt failed, and whether another one follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.pods import Pod
from modelyard.kinds.endings import disrupted, termination_of
from modelyard.kinds.trainingjob.model import Restart, Restarts

FINAL_REASONS = frozenset(
    {"ScriptNotFound", "NothingSaved", "ExportFailed", "ExportMismatch", "StorageFull", "RendezvousInvalid"}
)
"""Failures that another attempt would only repeat."""
CONSEQUENCES = frozenset({"PeerLost", "Terminated", "RendezvousTimeout"})
"""What pods say that only failed because another one did."""
MAX_BACKOFF_SECONDS = 300


@dataclass(frozen=True)
class Cause:
    """The root cause of a failed attempt."""

    reason: str
    message: str
    rank: int | None = None

    @property
    def counts(self) -> bool:
        """Whether a restart for it counts against restart.maxRestarts."""
        return self.reason != "Preempted"

    @property
    def final(self) -> bool:
        """Whether another attempt would only repeat it."""
        return self.reason in FINAL_REASONS


def cause_of(pods: Sequence[Pod]) -> Cause:
    """The root cause among the pods of a failed attempt: what failed by itself before what failed with it."""
    if any(disrupted(pod) for pod in pods):
        return Cause("Preempted", "the pods had to leave their node")
    causes = [cause for pod in pods if (cause := _cause(pod)) is not None]
    roots = [cause for cause in causes if cause.reason not in CONSEQUENCES]
    if roots or causes:
        return (roots or causes)[0]
    return Cause("PodLost", "a pod of the attempt is gone without a word")


def _cause(pod: Pod) -> Cause | None:
    ended = pod.terminated
    said = termination_of(pod)
    if said is not None and said.outcome != "Succeeded":
        return Cause(said.reason, said.message, said.rank)
    if ended is None or ended.exit_code == 0:
        return None
    if ended.reason == "OOMKilled":
        return Cause("OOMKilled", f"pod {pod.metadata.name} used more memory than its limit; raise resources.limits")
    return Cause("PodLost", f"pod {pod.metadata.name} ended with code {ended.exit_code} without a word")


def repeats(cause: Cause, checkpoint_step: int | None, restarts: Restarts) -> bool:
    """Whether the attempt before failed the same way, with no newer checkpoint since."""
    last = restarts.last
    return (
        last is not None
        and cause.reason == "ProcessError"
        and (last.reason, last.message) == (cause.reason, cause.message)
        and last.checkpoint_step == checkpoint_step
    )


def backoff(policy: Restart, restarts: Restarts) -> float:
    """Seconds between the failure that ``restarts`` ends with and the next attempt; none for what does not count."""
    if restarts.last is None or restarts.last.reason == "Preempted":
        return 0.0
    return float(min(MAX_BACKOFF_SECONDS, policy.backoff_seconds * 2 ** min(max(0, restarts.counted - 1), 16)))
