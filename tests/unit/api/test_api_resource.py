from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from modelyard.api.base import Model
from modelyard.api.conditions import true
from modelyard.api.metadata import ObjectKey, ObjectMeta
from modelyard.api.resource import Resource, Status, settled

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def resource(name: str) -> Resource:
    return Resource(kind="Toy", metadata=ObjectMeta(name=name, namespace="team"), spec=Model())


@pytest.mark.parametrize("name", ["a", "digits-int8", "a" * 45])
def test_a_name_that_fits_is_accepted(name: str) -> None:
    assert resource(name).key == ObjectKey("Toy", "team", name)


@pytest.mark.parametrize("name", ["1a", "a-", "-a", "A", "a.b", "a_b", "ä", "a" * 46])
def test_a_name_whose_children_would_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="at most 45 characters, lower-case letters, digits and -"):
        resource(name)


def test_a_settled_status_has_everything_in_one() -> None:
    status = settled(Status(), 2, NOW, "Complete", "done" * 2000, [true("Complete", "Completed")], ended=True)
    assert (status.observed_generation, status.state, len(status.message), status.completion_time) == (
        2,
        "Complete",
        4096,
        "2026-05-01T12:00:00Z",
    )
    assert [each.last_transition_time for each in status.conditions] == ["2026-05-01T12:00:00Z"]


def test_a_status_that_settles_again_without_news_is_equal() -> None:
    status = settled(Status(), 2, NOW, "Ready", "", [true("Ready", "Serving")])
    assert settled(status, 2, NOW.replace(hour=13), "Ready", "", [true("Ready", "Serving")]) == status
