"""The cluster interface on a Kubernetes API: reads from the watches, writes by server-side apply."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from pydantic import ValidationError

from modelyard.api.children import Children
from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import CHILD_TYPES
from modelyard.clusters.kube.cache import Cache
from modelyard.clusters.kube.client import APPLY, NOT_FOUND, ApiError, KubeClient
from modelyard.clusters.kube.drift import APPLIED_ANNOTATION, holds, stamped
from modelyard.clusters.kube.resources import ResourceType
from modelyard.engine.cluster import Conflict

FIELD_MANAGER = "modelyard"
IMMUTABLE = frozenset({"Job"})
"""Kinds whose spec the API server does not let anybody change: they stay as they were made."""
logger = logging.getLogger(__name__)


class KubeCluster:
    """Fed by ``seen`` and ``gone``, which the watches call. For one event loop."""

    def __init__(self, client: KubeClient, resources: Mapping[str, ResourceType], watched: frozenset[str]) -> None:
        """``watched`` kinds are read from the cache, all others from the API server at each use."""
        self._client = client
        self._resources = resources
        self._watched = watched
        self._cache = Cache()
        self._queues: list[asyncio.Queue[JsonObject]] = []

    def seen(self, body: JsonObject) -> None:
        """A watch showed this body."""
        try:
            news = self._cache.put(body)
        except ValidationError:
            logger.warning("an object without a name was seen, and left alone")
            return
        if news:
            self._tell(body)

    def gone(self, body: JsonObject) -> None:
        """A watch showed that this object was deleted."""
        try:
            self._cache.remove(KubeObject.model_validate(body).key)
        except ValidationError:
            return
        self._tell(body)

    async def get(self, key: ObjectKey) -> JsonObject | None:
        """The object, or None. Raises ApiError."""
        return self._cache.get(key) if key.kind in self._watched else await self._read(key)

    async def list_keys(self, kinds: Sequence[str]) -> list[ObjectKey]:
        """The keys of all watched objects of these kinds; those that no longer exist are forgotten on the way."""
        return self._cache.keys(*kinds)

    async def children(self, owner: OwnerReference, namespace: str) -> Children:
        """What carries the owner's labels and uid, and the pods that carry its labels."""
        labels = (owner.kind, namespace, owner.name)
        owned = tuple(
            child
            for kind in CHILD_TYPES
            for child in self._cache.owned(labels, kind)
            if any(reference.uid == owner.uid for reference in child.metadata.owner_references)
        )
        return Children(objects=owned, pods=tuple(self._cache.owned(labels, Pod)))

    async def apply(self, child: KubeObject, owner: OwnerReference) -> None:
        """Create the child or bring it back to the given fields; no request where it already is so.

        Raises Conflict where an object of that name belongs to somebody else, ApiError.
        """
        found = self._cache.get(child.key)
        if found is not None and not _owned_by(found, owner.uid):
            raise Conflict(f"{child.key} exists and belongs to another object; delete it or rename this one")
        manifest = stamped(_manifest(child, owner))
        if found is not None and (child.kind in IMMUTABLE or _as_applied(manifest, found)):
            return
        answer = await self._client.request(
            "PATCH",
            self._resources[child.kind].path(child.key),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )
        logger.info("%s: applied %s", owner.name, child.key)
        self.seen(answer)

    async def delete(self, key: ObjectKey) -> None:
        """Delete the object; the garbage collector deletes what it owns. Raises ApiError."""
        try:
            await self._client.request(
                "DELETE", self._resources[key.kind].path(key), query={"propagationPolicy": "Background"}
            )
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    async def write_status(self, key: ObjectKey, status: JsonObject) -> None:
        """Replace the status of the object; nothing happens where it is gone. Raises ApiError."""
        body: JsonObject = {
            "apiVersion": API_VERSION,
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        try:
            answer = await self._client.request(
                "PATCH",
                self._resources[key.kind].path(key, "status"),
                query={"fieldManager": FIELD_MANAGER, "force": "true"},
                body=body,
                content_type=APPLY,
            )
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return
        self.seen(answer)

    async def changes(self) -> AsyncIterator[JsonObject]:
        """Each object that a watch shows changed, from now on."""
        queue: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._queues.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    def _tell(self, body: JsonObject) -> None:
        for queue in self._queues:
            queue.put_nowait(body)

    async def _read(self, key: ObjectKey) -> JsonObject | None:
        try:
            return await self._client.request("GET", self._resources[key.kind].path(key))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise


def _manifest(child: KubeObject, owner: OwnerReference) -> JsonObject:
    """What is applied: our fields and labels, owned by ``owner``; nothing that only the server writes."""
    metadata: JsonObject = {
        "name": child.metadata.name,
        "namespace": child.metadata.namespace,
        "labels": dict(child.metadata.labels),
        "ownerReferences": [owner.model_dump(mode="json")],
    }
    return {**child.to_manifest(), "metadata": metadata}


def _as_applied(manifest: JsonObject, found: JsonObject) -> bool:
    return _stamp(manifest) == _stamp(found) and holds(manifest, found)


def _stamp(body: JsonObject) -> object:
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations.get(APPLIED_ANNOTATION) if isinstance(annotations, dict) else None


def _owned_by(body: JsonObject, uid: str) -> bool:
    return any(reference.uid == uid for reference in KubeObject.model_validate(body).metadata.owner_references)
