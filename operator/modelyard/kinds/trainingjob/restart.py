"""Whether another attempt follows a failed one, and when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.kinds.causes import UNCOUNTED, Cause
from modelyard.kinds.trainingjob.options import Restart, RestartRule
from modelyard.kinds.trainingjob.status import Restarts

MAX_BACKOFF_SECONDS = 300


@dataclass(frozen=True)
class Verdict:
    """What follows a failure."""

    counts: bool
    """Whether the restart counts against restart.maxRestarts."""
    end: str | None = None
    """Why no attempt follows; None: one does."""
    exclude_node: bool = False
    """Whether later attempts keep away from the node."""


def verdict(cause: Cause, policy: Restart, restarts: Restarts, checkpoint_step: int | None) -> Verdict:
    """What follows ``cause``: what the first rule that fits says, then what is known of the cause, then the limits."""
    rule = next((rule for rule in policy.rules if fits(rule, cause)), None)
    counts = cause.reason not in UNCOUNTED and (rule is None or rule.counts)
    exclude = rule is not None and rule.exclude_node
    if rule is not None and rule.action == "Fail":
        return Verdict(counts, f"{cause.message} (rule {rule.name})")
    if rule is None and cause.final:
        return Verdict(counts, cause.message)
    if rule is None and repeats(cause, checkpoint_step, restarts):
        return Verdict(counts, f"twice the same error with no checkpoint in between: {cause.message}")
    if counts and restarts.counted >= policy.max_restarts:
        limit = f"after {restarts.counted} restarts, restart.maxRestarts {policy.max_restarts}"
        return Verdict(counts, f"{cause.message} ({limit})")
    return Verdict(counts, exclude_node=exclude)


def fits(rule: RestartRule, cause: Cause) -> bool:
    """Whether all that the rule asks for holds."""
    code = not rule.on_exit_codes or cause.exit_code in rule.on_exit_codes
    return code and (rule.on_message is None or rule.on_message in cause.message)


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
    """Seconds between the failure that ``restarts`` ends with and the next attempt; none for what is nobody's fault."""
    if restarts.last is None or restarts.last.reason in UNCOUNTED:
        return 0.0
    return float(min(MAX_BACKOFF_SECONDS, policy.backoff_seconds * 2 ** min(max(0, restarts.counted - 1), 16)))


def without(nodes: Sequence[str], node: str | None) -> list[str]:
    """The nodes to keep away from, with one more; the newest 64."""
    return list(nodes) if node is None or node in nodes else [*nodes, node][-64:]
