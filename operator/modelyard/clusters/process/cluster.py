"""The process cluster: the engine's cluster interface on this machine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from modelyard.api.children import Children
from modelyard.api.labels import KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import CHILD_TYPES, Job
from modelyard.clusters.process.controllers import Controllers
from modelyard.clusters.process.machine import this_machine
from modelyard.clusters.process.node import Node
from modelyard.clusters.process.services import LocalServices
from modelyard.clusters.process.store import ObjectStore
from modelyard.engine.cluster import Conflict
from modelyard.engine.events import Event

TICK_SECONDS = 0.1
STOP_SECONDS = 3.0
"""A cluster that goes down gives its pods so long, then kills them."""

Change = Literal["created", "configured", "unchanged"]


class ProcessCluster:
    """Objects in a folder, and the controllers and the node that make processes of them.

    One process at a time runs the cluster of a state folder (see ``lock``); pods go on without it, and the next one
    finds them again.
    """

    def __init__(self, state: Path, own_images: frozenset[str], ports: Mapping[str, int]) -> None:
        """``ports`` asks for a local port for the Services of these names. Raises OSError."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.store = ObjectStore(state / "objects")
        self.node = Node(state, self.store, this_machine(), own_images)
        self._services = LocalServices(self.store, ports)
        self._controllers = Controllers(self.store, self.node)
        self._going_down = False
        self.makes_pods = True
        """False while a command only clears away: what was stopped stays so."""
        self._watchers: list[asyncio.Queue[JsonObject]] = []
        self.store.listener = self._tell

    async def run(self) -> None:
        """Keep the controllers and the node going, until cancelled."""
        try:
            while True:
                if not self._going_down:
                    self._controllers.tick(datetime.now(UTC), create=self.makes_pods)
                self.node.tick()
                await self._services.tick()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await self._services.close()
            await self.node.close()

    async def stop_pods(self) -> None:
        """End all pods because this machine stops serving; their objects stay, and so does all that is stored.

        Call it while ``run`` runs: that is what notices how they end.
        """
        self._going_down = True
        for pod in self._running():
            self.node.disrupt(pod)
        if not await self._until_ended(self.node.stop):
            await self._until_ended(self.node.kill)

    async def _until_ended(self, end: Callable[[Pod], None]) -> bool:
        for _ in range(int(STOP_SECONDS / TICK_SECONDS)):
            if not self._running():
                return True
            for pod in self._running():
                end(pod)
            await asyncio.sleep(TICK_SECONDS)
        return not self._running()

    def _running(self) -> list[Pod]:
        return [pod for pod in self.store.every(Pod) if not pod.finished]

    def submit(self, body: JsonObject) -> Change:
        """Create or update an object that a user wrote, as ``kubectl apply`` would. Raises OSError.

        A status in it, and metadata that only the cluster writes, are left out.
        """
        thing = KubeObject.model_validate(body)
        key = thing.key
        old = self.store.get(key)
        labels: JsonObject = {**thing.metadata.labels}
        metadata: JsonObject = {"name": key.name, "namespace": key.namespace, **({"labels": labels} if labels else {})}
        wanted = _merged(old, {**{part: body[part] for part in body if part != "status"}, "metadata": metadata})
        self.store.put(key, wanted)
        if old is None:
            return "created"
        return "configured" if _generation(self.store.get(key)) != _generation(old) else "unchanged"

    async def get(self, key: ObjectKey) -> JsonObject | None:
        """The object, or None."""
        return self.store.get(key)

    async def list_keys(self, kinds: Sequence[str]) -> list[ObjectKey]:
        """The keys of all objects of these kinds."""
        return self.store.keys(*kinds)

    async def children(self, owner: OwnerReference, namespace: str) -> Children:
        """What ``owner`` owns now, and the pods that carry its labels."""
        types = {str(kind.model_fields["kind"].default): kind for kind in CHILD_TYPES}
        owned = tuple(
            child
            for thing in self.store.things()
            if thing.kind in types and thing.metadata.namespace == namespace and _owned_by(thing, owner.uid)
            if (child := self.store.typed(thing.key, types[thing.kind])) is not None
        )
        labels = {KIND_LABEL: owner.kind, NAME_LABEL: owner.name}.items()
        pods = tuple(
            pod
            for pod in self.store.every(Pod)
            # By labels, since pods outlive the Job that was deleted to end them.
            if pod.metadata.namespace == namespace and labels <= pod.metadata.labels.items()
        )
        reports = {pod.metadata.name: self.node.progress[pod.key] for pod in pods if pod.key in self.node.progress}
        return Children(objects=owned, pods=pods, progress=reports)

    async def apply(self, child: KubeObject, owner: OwnerReference) -> bool:
        """Create the child or bring it to the given fields; False where it is so already.

        A Job's spec is immutable, as in Kubernetes, but for the number of its pods. Raises Conflict when an object of
        that name is somebody else's.
        """
        old = self.store.get(child.key)
        if old is not None and not _owned_by(KubeObject.model_validate(old), owner.uid):
            raise Conflict(f"{child.key} exists and belongs to another object; delete it or rename this one")
        metadata = child.metadata.model_copy(update={"owner_references": [owner]})
        wanted = _merged(old, child.model_copy(update={"metadata": metadata}).to_manifest())
        if old is not None and isinstance(child, Job):
            spec = old["spec"]
            assert isinstance(spec, dict)
            wanted["spec"] = {**spec, "parallelism": child.spec.parallelism, "completions": child.spec.completions}
        self.store.put(child.key, wanted)
        return self.store.get(child.key) is not old

    async def delete(self, key: ObjectKey) -> None:
        """Delete the object; what it owned follows."""
        self.store.delete(key)

    async def write_status(self, key: ObjectKey, status: JsonObject) -> None:
        """Replace the status of the object."""
        body = self.store.get(key)
        if body is not None:
            self.store.put(key, {**body, "status": status})

    def record(self, about: KubeObject, event: Event) -> None:
        """No history is kept: the commands show each change as it happens, and ``logs`` what pods said."""

    async def changes(self) -> AsyncIterator[JsonObject]:
        """Each object that changed, from now on."""
        queue: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove(queue)

    def _tell(self, body: JsonObject) -> None:
        for queue in self._watchers:
            queue.put_nowait(body)


def _owned_by(thing: KubeObject, uid: str) -> bool:
    return any(reference.uid == uid for reference in thing.metadata.owner_references)


def _merged(old: JsonObject | None, body: JsonObject) -> JsonObject:
    """``body`` with what the cluster wrote of the old object: status, and metadata that ``body`` does not name."""
    if old is None:
        return dict(body)
    kept: dict[str, JsonValue] = {"status": old["status"]} if "status" in old else {}
    before, after = old["metadata"], body["metadata"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    annotations = before.get("annotations")
    metadata: JsonObject = {**({"annotations": annotations} if annotations else {}), **after}
    return {**kept, **body, "metadata": metadata}


def _generation(body: JsonObject | None) -> JsonValue:
    metadata = body["metadata"] if body is not None else None
    return metadata.get("generation") if isinstance(metadata, dict) else None
