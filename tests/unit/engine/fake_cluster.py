"""A cluster in memory: objects by key, with what an API server adds to them, and a log of what was written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

from modelyard.api.children import Children
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import CHILD_TYPES
from modelyard.engine.cluster import ClusterError, Conflict
from modelyard.engine.events import Event

_TYPES = {kind.__name__: kind for kind in CHILD_TYPES}


class FakeCluster:
    """Implements ``modelyard.engine.cluster.Cluster``."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, JsonObject] = {}
        self.writes: list[str] = []
        """One line a write of the engine that changed something: what was done, and to which object."""
        self.history: list[Event] = []
        self._watchers: list[asyncio.Queue[JsonObject]] = []
        self._uids = 0
        self.refuses_status = False

    def put(self, body: JsonObject) -> ObjectKey:
        """Store what a user or another controller wrote; a new object gets a uid, a changed spec a generation."""
        thing = KubeObject.model_validate(body)
        old = self.objects.get(thing.key)
        given = body["metadata"]
        assert isinstance(given, dict)
        before = _metadata(old)
        if old is None:
            self._uids += 1
            before = {"uid": f"uid-{self._uids}", "generation": 1}
        elif old.get("spec") != body.get("spec"):
            before = {**before, "generation": cast("int", before["generation"]) + 1}
        self._store(thing.key, {**(old or {}), **body, "metadata": {"namespace": "default", **given, **before}})
        return thing.key

    def body(self, key: ObjectKey, part: str) -> JsonObject:
        """A part of an object, such as its status."""
        return cast("JsonObject", self.objects[key].get(part, {}))

    async def get(self, key: ObjectKey) -> JsonObject | None:
        return self.objects.get(key)

    async def list_keys(self, kinds: Sequence[str]) -> list[ObjectKey]:
        return [key for key in self.objects if key.kind in kinds]

    async def children(self, owner: OwnerReference, namespace: str) -> Children:
        owned = [body for body in self.objects.values() if owner.uid in _owners(body)]
        uids = {_metadata(body)["uid"] for body in owned}
        return Children(
            objects=tuple(_TYPES[str(body["kind"])].model_validate(body) for body in owned if body["kind"] in _TYPES),
            pods=tuple(
                Pod.model_validate(body)
                for body in self.objects.values()
                if body["kind"] == "Pod" and uids.intersection(_owners(body))
            ),
        )

    async def apply(self, child: KubeObject, owner: OwnerReference) -> bool:
        old = self.objects.get(child.key)
        if old is not None and owner.uid not in _owners(old):
            raise Conflict(f"{child.key} exists and belongs to another object")
        owned = child.metadata.model_copy(update={"owner_references": [owner]})
        self.put(child.model_copy(update={"metadata": owned}).to_manifest())
        changed = self.objects[child.key] != old
        if changed:
            self.writes.append(f"apply {child.key}")
        return changed

    async def delete(self, key: ObjectKey) -> None:
        self.writes.append(f"delete {key}")
        self.remove(key)

    async def write_status(self, key: ObjectKey, status: JsonObject) -> None:
        if self.refuses_status:
            raise ClusterError("no")
        self.writes.append(f"status {key}")
        self._store(key, {**self.objects[key], "status": status})

    def record(self, about: KubeObject, event: Event) -> None:
        self.history.append(event)
        self.writes.append(f"event {about.key} {event.reason}")

    async def changes(self) -> AsyncIterator[JsonObject]:
        queue: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._watchers.append(queue)
        while True:
            yield await queue.get()

    def remove(self, key: ObjectKey) -> None:
        """Delete an object and, as garbage collection would, all that it owns."""
        body = self.objects.pop(key)
        self._tell(body)
        for other, found in list(self.objects.items()):
            if _metadata(body)["uid"] in _owners(found):
                self.remove(other)

    def _store(self, key: ObjectKey, body: JsonObject) -> None:
        if body != self.objects.get(key):
            self.objects[key] = body
            self._tell(body)

    def _tell(self, body: JsonObject) -> None:
        for queue in self._watchers:
            queue.put_nowait(body)


def _metadata(body: JsonObject | None) -> JsonObject:
    return cast("JsonObject", body["metadata"]) if body is not None else {}


def _owners(body: JsonObject) -> list[str]:
    return [owner.uid for owner in KubeObject.model_validate(body).metadata.owner_references]
