"""Which Events a change of a status is worth."""

from modelyard.api.conditions import Condition, false, true, unknown
from modelyard.api.resource import Status
from modelyard.engine.events import Event, events_of

ALARMS = frozenset({"Restarting", "GatePassed"})
RUNNING = true("Running", "AllPodsRun", "attempt 1, 2 ranks")


def status(state: str, message: str, *conditions: Condition) -> Status:
    return Status(state=state, message=message, conditions=list(conditions))


def test_a_change_that_condition_and_state_both_tell_is_one_event() -> None:
    after = status("Running", RUNNING.message, RUNNING, true("Reconciling", "Running", RUNNING.message))
    assert events_of(Status(), after, ALARMS) == [Event("Normal", "AllPodsRun", "attempt 1, 2 ranks")]


def test_a_new_message_alone_is_no_event() -> None:
    before = status("Running", "step 1", RUNNING)
    after = status("Running", "step 2", true("Running", "AllPodsRun", "attempt 1, step 2"))
    assert events_of(before, after, ALARMS) == []


def test_the_same_status_is_no_event() -> None:
    same = status("Running", RUNNING.message, RUNNING)
    assert events_of(same, same, ALARMS) == []


def test_a_new_reason_is_an_event() -> None:
    before = status("Starting", "", false("Running", "Starting", "1 of 2 pods run"))
    after = status("Starting", "", false("Running", "ImagePull", "no such image"))
    assert events_of(before, after, ALARMS) == [Event("Normal", "ImagePull", "no such image")]


def test_what_is_unknown_without_message_or_no_longer_there_is_no_event() -> None:
    before = status("Running", "", true("Stalled", "NameTaken", "taken"))
    after = status("Running", "", true("Accepted", "Valid"), unknown("Scheduled", "PodsPending", "0 of 2 pods exist"))
    assert events_of(before, after, ALARMS) == []


def test_each_thing_that_happened_at_once_is_told_once_in_order() -> None:
    after = status(
        "Complete", "published pvc://models/a",
        false("Running", "Complete"),
        true("ArtifactReady", "Published", "pvc://models/a sha256:1"),
        true("Complete", "Completed", "published pvc://models/a"),
    )  # fmt: skip
    assert events_of(status("Running", RUNNING.message, RUNNING), after, ALARMS) == [
        Event("Normal", "Published", "pvc://models/a sha256:1"),
        Event("Normal", "Completed", "published pvc://models/a"),
    ]


def test_a_note_that_another_contains_is_not_told_again() -> None:
    cause = false("Running", "ProcessError", "rank 0: ValueError")
    after = status("Restarting", "attempt 1 failed (ProcessError: rank 0: ValueError); again in 10 s", cause)
    assert events_of(Status(), after, ALARMS) == [Event("Warning", "Restarting", after.message)]


def test_what_stands_for_a_warning_is_one() -> None:
    after = status("Waiting", "the code is missing; create it", false("Accepted", "ConfigMapNotFound", "the code"))
    assert events_of(Status(), after, ALARMS) == [Event("Warning", "Waiting", "the code is missing; create it")]


def test_trouble_that_holds_and_an_alarm_that_does_not_are_warnings() -> None:
    gate, stalled = false("GatePassed", "GateNotMet", "0.4"), true("Stalled", "NameTaken", "taken")
    after = status("", "", gate, stalled, true("GatesPassed", "AllGatesMet", "0.9"), true("Failed", "OOM", "memory"))
    assert [(event.type, event.reason) for event in events_of(Status(), after, ALARMS)] == [
        ("Warning", "GateNotMet"),
        ("Warning", "NameTaken"),
        ("Normal", "AllGatesMet"),
        ("Warning", "OOM"),
    ]
