"""Conditions as metav1 defines them, and how a status carries them from one visit to the next."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Observed

ConditionStatus = Literal["True", "False", "Unknown"]

ACCEPTED = "Accepted"
RECONCILING = "Reconciling"
STALLED = "Stalled"
READY = "Ready"
COMPLETE = "Complete"
FAILED = "Failed"
REJECTED = "Rejected"
ARTIFACT_READY = "ArtifactReady"


class Condition(Observed):
    """One observation about an object."""

    type: Annotated[str, Field(max_length=316)]
    """The aspect, an adjective or past participle in CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    """Why, one word in CamelCase."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """For a person: what happened, and the remedy where there is one."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this was observed for."""
    last_transition_time: Annotated[str, Field(max_length=32)] = ""
    """When the status last changed."""


def true(kind: str, reason: str, message: str = "") -> Condition:
    """A condition that holds."""
    return Condition(type=kind, status="True", reason=reason, message=message[:4096])


def false(kind: str, reason: str, message: str = "") -> Condition:
    """A condition that does not hold."""
    return Condition(type=kind, status="False", reason=reason, message=message[:4096])


def unknown(kind: str, reason: str, message: str = "") -> Condition:
    """A condition about which nothing is known yet."""
    return Condition(type=kind, status="Unknown", reason=reason, message=message[:4096])


def settle(
    previous: Sequence[Condition], found: Iterable[Condition], generation: int, now: datetime
) -> list[Condition]:
    """The conditions to write: ``found``, each with the time at which its status last changed.

    A condition that is not in ``found`` is dropped, as Reconciling and Stalled are at rest.
    """
    before = {condition.type: condition for condition in previous}
    return [_settled(before.get(condition.type), condition, generation, now) for condition in found]


def _settled(previous: Condition | None, found: Condition, generation: int, now: datetime) -> Condition:
    moved = previous is None or previous.status != found.status or not previous.last_transition_time
    time = timestamp(now) if moved or previous is None else previous.last_transition_time
    return found.model_copy(update={"observed_generation": generation, "last_transition_time": time})


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as the API server writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """The moment that ``text`` names. Raises ValueError."""
    return datetime.fromisoformat(text)
