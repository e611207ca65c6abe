"""The history of an object: which Events a change of its status is worth. Pure."""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Literal

from modelyard.api import conditions
from modelyard.api.conditions import Condition
from modelyard.api.resource import Status

TROUBLE = frozenset({conditions.STALLED, conditions.FAILED, conditions.REJECTED})
"""Conditions that are bad news when they hold."""
GENERAL_ALARMS = frozenset({conditions.ACCEPTED, "Refused", "Blocked"})
"""As a Kind's ``alarms``, for every kind."""


@dataclass(frozen=True)
class Event:
    """One line of a history."""

    type: Literal["Normal", "Warning"]
    reason: str
    """One word in CamelCase: a condition's reason, or the state."""
    note: str


def events_of(before: Status, after: Status, alarms: Container[str]) -> list[Event]:
    """At most one Event for each condition with a new status or reason, and one for a new state.

    A new message alone makes none: messages may count, and flap. Neither does what is unknown or has no message, nor
    what another Event of the same change says too; Reconciling only ever repeats the state. ``alarms`` are the states,
    and the conditions when False, that are Warnings.
    """
    told = [
        Event("Warning" if _alarms(each, alarms) else "Normal", each.reason, each.message)
        for each in after.conditions
        if each.message and each.type != conditions.RECONCILING and _moved(before, each)
    ]
    if after.message and after.state != before.state:
        alarming = after.state in GENERAL_ALARMS or after.state in alarms
        told.append(Event("Warning" if alarming else "Normal", after.state, after.message))
    return _without_repeats(told)


def _moved(before: Status, condition: Condition) -> bool:
    old = conditions.find(before.conditions, condition.type)
    was = (old.status, old.reason) if old is not None else None
    return condition.status != "Unknown" and (condition.status, condition.reason) != was


def _alarms(condition: Condition, alarms: Container[str]) -> bool:
    if condition.status == "True":
        return condition.type in TROUBLE
    return condition.type in GENERAL_ALARMS or condition.type in alarms


def _without_repeats(told: list[Event]) -> list[Event]:
    """Those whose note no other contains, the first of equals; as alarming as what they stand for."""
    kept: list[Event] = []
    for each in sorted(told, key=lambda event: -len(event.note)):
        index = next((number for number, other in enumerate(kept) if each.note in other.note), None)
        if index is None:
            kept.append(each)
        elif each.type == "Warning":
            kept[index] = replace(kept[index], type="Warning")
    order = {event.note: number for number, event in reversed(list(enumerate(told)))}
    return sorted(kept, key=lambda event: order[event.note])
