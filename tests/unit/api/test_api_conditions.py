from datetime import UTC, datetime, timedelta, timezone

import pytest

from modelyard.api.conditions import (
    Condition,
    false,
    find,
    is_true,
    parse_timestamp,
    settle,
    timestamp,
    true,
    unknown,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def test_a_new_condition_gets_the_time_and_the_generation() -> None:
    assert settle([], [true("Ready", "Serving", "2 of 2")], 3, NOW) == [
        Condition(
            type="Ready",
            status="True",
            reason="Serving",
            message="2 of 2",
            observed_generation=3,
            last_transition_time="2026-05-01T12:00:00Z",
        )
    ]


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    before = settle([], [true("Ready", "Serving", "1 of 1")], 3, NOW)
    (after,) = settle(before, [true("Ready", "Scaled", "2 of 2")], 4, LATER)
    assert (after.last_transition_time, after.reason, after.message, after.observed_generation) == (
        "2026-05-01T12:00:00Z",
        "Scaled",
        "2 of 2",
        4,
    )


@pytest.mark.parametrize("changed", [false("Ready", "Down"), unknown("Ready", "NotSeen")])
def test_a_condition_gets_a_new_time_when_its_status_changes(changed: Condition) -> None:
    before = settle([], [true("Ready", "Serving")], 1, NOW)
    (after,) = settle(before, [changed], 1, LATER)
    assert after.last_transition_time == "2026-05-01T13:00:00Z"


def test_a_condition_that_is_not_found_any_more_goes() -> None:
    before = settle([], [true("Ready", "Serving"), true("Stalled", "Broken")], 1, NOW)
    assert [each.type for each in settle(before, [true("Ready", "Serving")], 1, LATER)] == ["Ready"]


def test_a_long_message_is_cut_to_what_a_condition_can_carry() -> None:
    assert len(false("Ready", "Down", "x" * 9000).message) == 4096


def test_a_condition_is_found_by_its_type() -> None:
    found = [true("Ready", "Serving"), false("Stalled", "Fine")]
    assert (find(found, "Stalled"), find(found, "Complete")) == (found[1], None)
    assert [is_true(found, kind) for kind in ("Ready", "Stalled", "Complete")] == [True, False, False]


def test_a_timestamp_is_utc_to_the_second_and_can_be_read_again() -> None:
    moment = datetime(2026, 5, 1, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    assert (timestamp(moment), parse_timestamp(timestamp(moment))) == ("2026-05-01T12:00:00Z", NOW)
