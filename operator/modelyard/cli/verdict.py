"""Whether an object has come to rest, and how. Pure."""

from typing import Literal

from modelyard.api import conditions
from modelyard.api.metadata import JsonObject
from modelyard.api.resource import Status

Verdict = Literal["working", "good", "bad"]


def status_of(body: JsonObject | None) -> Status:
    """The shared part of an object's status; empty for a fresh or absent object."""
    return Status.model_validate((body or {}).get("status") or {})


def verdict(body: JsonObject | None) -> Verdict:
    """``good`` and ``bad`` are final as long as nobody changes anything.

    So is a pod that does not fit: the one machine of a process cluster does not grow.
    """
    found = status_of(body).conditions
    if any(condition.status == "False" and condition.reason == "Unschedulable" for condition in found):
        return "bad"
    if conditions.is_true(found, conditions.RECONCILING) or not found:
        return "working"
    if any(conditions.is_true(found, kind) for kind in (conditions.STALLED, conditions.FAILED, conditions.REJECTED)):
        return "bad"
    return "good"
