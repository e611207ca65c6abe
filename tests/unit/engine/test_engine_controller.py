import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from fake_cluster import FakeCluster
from lapse import run
from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.api.settings import Settings
from modelyard.engine.controller import Controller
from modelyard.engine.kind import Kind
from modelyard.engine.observer import Observer, Result
from toy_kind import KIND, config_map, toy


@asynccontextmanager
async def controlled(cluster: FakeCluster, observer: Observer | None = None) -> AsyncIterator[Controller]:
    """A running controller that has visited all that was there at its start."""
    controller = Controller([cast("Kind[Resource]", KIND)], cluster, Settings(), observer)
    task = asyncio.create_task(controller.run())
    await controller.first_pass()
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def text_of(cluster: FakeCluster, name: str) -> object:
    return cluster.body(ObjectKey("ConfigMap", "default", name), "data").get("text")


def test_what_is_there_at_the_start_is_visited() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        cluster.put(toy("a", "{text: hello}"))
        async with controlled(cluster):
            return text_of(cluster, "a-0")

    assert run(scenario()) == "hello"


def test_a_change_of_an_object_leads_to_a_visit() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        async with controlled(cluster):
            cluster.put(toy("a", "{text: hello}"))
            await asyncio.sleep(1)
            return text_of(cluster, "a-0")

    assert run(scenario()) == "hello"


def test_a_deleted_child_returns_by_its_own_event() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        cluster.put(toy("a", "{text: hello}"))
        async with controlled(cluster):
            cluster.remove(ObjectKey("ConfigMap", "default", "a-0"))
            await asyncio.sleep(1)
            return text_of(cluster, "a-0")

    assert run(scenario()) == "hello"


def test_a_change_of_a_source_leads_to_a_visit_of_what_refers_to_it() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        cluster.put(toy("a", "{source: origin}"))
        async with controlled(cluster):
            cluster.put(config_map("origin", "new"))
            await asyncio.sleep(1)
            return text_of(cluster, "a-0")

    assert run(scenario()) == "new"


def test_one_bad_object_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[object]:
        cluster = FakeCluster()
        for name, text in (("a", "hello"), ("bad", "broken"), ("c", "hello")):
            cluster.put(toy(name, f"{{text: {text}}}"))
        async with controlled(cluster):
            return [
                cluster.body(ObjectKey("Toy", "default", name), "status").get("state") for name in ("a", "bad", "c")
            ]

    with caplog.at_level(logging.CRITICAL, "modelyard"):
        assert run(scenario()) == ["Ready", None, "Ready"]


def test_a_failed_visit_is_tried_again_ever_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        cluster.put(toy("bad", "{text: broken}"))
        async with controlled(cluster):
            await asyncio.sleep(60)

    run(scenario())
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert 8 <= len(failures) <= 12
    assert failures[0].message.startswith("Toy default/bad: failed, again in 0.")


def test_every_object_is_visited_again_after_a_while() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        cluster.put(toy("a", "{text: hello}"))
        async with controlled(cluster):
            child = ObjectKey("ConfigMap", "default", "a-0")
            del cluster.objects[child]
            await asyncio.sleep(700)
            return text_of(cluster, "a-0")

    assert run(scenario()) == "hello"


def test_an_event_that_is_no_object_is_ignored() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        async with controlled(cluster):
            cluster._tell({"kind": "Status", "code": 410})
            cluster.put(toy("a", "{text: hello}"))
            await asyncio.sleep(1)
            return text_of(cluster, "a-0")

    assert run(scenario()) == "hello"


def test_an_object_asks_to_be_visited_again() -> None:
    async def scenario() -> list[bool]:
        cluster = FakeCluster()
        cluster.put(toy("a", "{text: again}"))
        async with controlled(cluster):
            await asyncio.sleep(1)
            child = ObjectKey("ConfigMap", "default", "a-0")
            del cluster.objects[child]
            seen = []
            for _ in range(2):
                await asyncio.sleep(40)
                seen.append(child in cluster.objects)
            return seen

    assert run(scenario()) == [False, True]


def test_a_visit_of_all_sees_what_no_event_has_told_yet() -> None:
    async def scenario() -> object:
        cluster = FakeCluster()
        cluster.put(toy("a", "{text: hello}"))
        async with controlled(cluster) as controller:
            cluster.put(toy("a", "{text: changed}"))
            await controller.visit_all()
            return text_of(cluster, "a-0")

    assert run(scenario()) == "changed"


class Heard:
    """An Observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def queued(self, key: ObjectKey, /) -> None:
        self.told.append(f"queued {key.name}")

    def taken(self, key: ObjectKey, /) -> None:
        self.told.append(f"taken {key.name}")

    def visited(self, key: ObjectKey, result: Result, seconds: float, /) -> None:
        self.told.append(f"visited {key.name} {result}")

    def retried(self, key: ObjectKey, /) -> None:
        self.told.append(f"retried {key.name}")


def test_an_observer_is_told_how_each_visit_ended(caplog: pytest.LogCaptureFixture) -> None:
    def visits(spec: str, *others: JsonObject, refuses_status: bool = False) -> list[str]:
        async def scenario() -> list[str]:
            cluster, heard = FakeCluster(), Heard()
            cluster.refuses_status = refuses_status
            for body in (toy("a", spec), *others):
                cluster.put(body)
            async with controlled(cluster, heard):
                return heard.told[:4]

        return run(scenario())

    queued = ["queued a", "taken a"]
    with caplog.at_level(logging.CRITICAL, "modelyard"):
        assert visits("{copies: 0}")[:3] == [*queued, "visited a success"]
        assert visits("{copies: 12}")[:3] == [*queued, "visited a refused"]
        assert visits("{text: broken}") == [*queued, "retried a", "visited a error"]
        assert visits("{}", config_map("a-0", "of a user")) == [*queued, "retried a", "visited a conflict"]
        assert visits("{copies: 0}", refuses_status=True) == [*queued, "retried a", "visited a unavailable"]
