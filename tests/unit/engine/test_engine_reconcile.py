import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from fake_cluster import FakeCluster
from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.settings import Settings
from modelyard.engine.cluster import Cluster, ClusterError, Conflict
from modelyard.engine.events import Event
from modelyard.engine.reconcile import Reconciler, Refused
from toy_kind import KIND, NOW, config_map, toy

TOY = ObjectKey("Toy", "default", "a")


@dataclass
class Visited:
    """A cluster whose object ``a`` the test visits."""

    cluster: FakeCluster = field(default_factory=FakeCluster)

    def visit(self, now: datetime = NOW) -> float | None:
        with suppress(Refused):
            return asyncio.run(Reconciler(KIND, self.cluster, Settings()).reconcile(TOY, now))
        return None

    def put(self, spec: str) -> None:
        self.cluster.put(toy("a", spec))

    def child(self, number: int) -> ObjectKey:
        return ObjectKey("ConfigMap", "default", f"a-{number}")

    @property
    def status(self) -> JsonObject:
        return self.cluster.body(TOY, "status")

    def written(self) -> list[str]:
        """What the visits wrote since the last call."""
        writes, self.cluster.writes = self.cluster.writes, []
        return writes


@pytest.fixture
def visited() -> Visited:
    """Object ``a`` with two children, visited once."""
    found = Visited()
    found.put("{copies: 2, text: hello}")
    found.visit()
    return found


def test_the_fake_cluster_is_a_cluster() -> None:
    cluster: Cluster = FakeCluster()
    assert asyncio.run(cluster.list_keys(["Toy"])) == []


def test_a_visit_makes_the_children_and_then_writes_the_status(visited: Visited) -> None:
    assert visited.written() == [
        "apply ConfigMap default/a-0",
        "apply ConfigMap default/a-1",
        "status Toy default/a",
        "event Toy default/a Ready",
    ]
    assert visited.status == {
        "observedGeneration": 1,
        "state": "Ready",
        "message": "all there",
        "seen": 2,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllThere",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-05-01T12:00:00Z",
            }
        ],
    }


def test_a_second_visit_writes_nothing(visited: Visited) -> None:
    visited.written()
    visited.visit(NOW + timedelta(hours=1))
    assert visited.written() == []


def test_a_deleted_child_returns(visited: Visited) -> None:
    visited.cluster.remove(visited.child(1))
    visited.written()
    visited.visit()
    assert visited.written() == ["apply ConfigMap default/a-1"]


def test_an_edited_child_is_put_back(visited: Visited) -> None:
    visited.cluster.put(config_map("a-0", "edited"))
    visited.visit()
    assert visited.cluster.body(visited.child(0), "data") == {"text": "hello"}


def test_a_surplus_child_goes_and_what_others_own_stays(visited: Visited) -> None:
    mine = visited.cluster.put(config_map("a-9", "of a user"))
    visited.put("{copies: 1, text: hello}")
    visited.written()
    visited.visit()
    assert visited.written() == ["delete ConfigMap default/a-1", "status Toy default/a"]
    assert mine in visited.cluster.objects


def test_a_change_of_the_spec_is_observed_with_its_generation(visited: Visited) -> None:
    visited.put("{copies: 3, text: hello}")
    visited.visit()
    assert (visited.status["observedGeneration"], visited.status["seen"]) == (2, 3)


def test_a_source_is_handed_to_the_kind(visited: Visited) -> None:
    visited.cluster.put(config_map("origin", "from the source"))
    visited.put("{copies: 1, source: origin}")
    visited.visit()
    assert visited.cluster.body(visited.child(0), "data") == {"text": "from the source"}


def test_a_refused_spec_touches_nothing_but_the_status(visited: Visited) -> None:
    visited.put("{copies: 12, colour: red}")
    visited.written()
    assert visited.visit() is None
    assert visited.written() == ["status Toy default/a", "event Toy default/a InvalidSpec"]
    message = (
        "spec.copies: input should be less than or equal to 9 (got 12); "
        "spec.colour: unknown field; remove it or correct its spelling"
    )
    said = {"reason": "InvalidSpec", "message": message}
    since = {"observedGeneration": 2, "lastTransitionTime": "2026-05-01T12:00:00Z"}
    assert visited.status == {
        "observedGeneration": 2,
        "state": "Refused",
        "message": message,
        "seen": 2,
        "conditions": [
            {"type": "Accepted", "status": "False", **said, **since},
            {"type": "Stalled", "status": "True", **said, **since},
        ],
    }


def test_a_refusal_is_written_once(visited: Visited) -> None:
    visited.put("{copies: 12}")
    visited.visit()
    visited.written()
    visited.visit(NOW + timedelta(hours=1))
    assert visited.written() == []


def test_a_corrected_spec_is_taken_up_again(visited: Visited) -> None:
    visited.put("{copies: 12}")
    visited.visit()
    visited.put("{copies: 2, text: hello}")
    visited.visit()
    assert visited.status["state"] == "Ready"


def test_an_object_that_is_being_deleted_is_left_alone(visited: Visited) -> None:
    body = visited.cluster.objects[TOY]
    visited.cluster.put({**body, "metadata": {"name": "a", "deletionTimestamp": "2026-05-01T12:00:00Z"}})
    visited.cluster.remove(visited.child(0))
    visited.written()
    visited.visit()
    assert visited.written() == []


def test_an_object_that_is_gone_is_no_error(visited: Visited) -> None:
    visited.cluster.remove(TOY)
    visited.written()
    assert visited.visit() is None
    assert visited.written() == []


def test_a_name_that_somebody_else_took_stalls_the_object() -> None:
    found = Visited()
    found.cluster.put(config_map("a-0", "of a user"))
    found.put("{copies: 1}")
    with pytest.raises(Conflict):
        found.visit()
    assert (found.status["state"], found.status["message"]) == (
        "Blocked",
        "ConfigMap default/a-0 exists and belongs to another object",
    )
    assert found.cluster.body(found.child(0), "data") == {"text": "of a user"}


def test_a_status_that_was_not_written_has_no_event() -> None:
    found = Visited()
    found.put("{text: hello}")
    found.cluster.refuses_status = True
    with pytest.raises(ClusterError):
        found.visit()
    assert found.cluster.history == []
    found.cluster.refuses_status = False
    found.visit()
    assert found.cluster.history == [Event("Normal", "Ready", "all there")]


def test_a_visit_says_when_the_next_one_is_due() -> None:
    found = Visited()
    found.put("{text: again}")
    assert found.visit() == 60.0


@pytest.mark.parametrize(("age", "expected"), [(0, 10.0), (300, 30.0), (86400, 60.0)])
def test_the_longer_something_is_missing_the_less_often_it_is_looked_for(age: int, expected: float) -> None:
    found = Visited()
    created = (NOW - timedelta(seconds=age)).isoformat()
    found.cluster.put({**toy("a", "{source: nowhere}"), "metadata": {"name": "a", "creationTimestamp": created}})
    assert found.visit() == expected
