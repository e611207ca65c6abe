"""The cluster interface on a Kubernetes API: reads from watches and lists, writes by server-side apply."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from pydantic import ValidationError

from modelyard.api.children import Children
from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.api.pods import Pod
from modelyard.api.workloads import CHILD_TYPES, OPTIONAL_CHILD_TYPES, Job
from modelyard.clusters.kube.cache import Cache
from modelyard.clusters.kube.client import APPLY, MERGE, NOT_FOUND, ApiError, KubeClient, NoAnswerError
from modelyard.clusters.kube.drift import as_applied, holds, manifest_of, stamped
from modelyard.clusters.kube.handover import HANDOVER_MANAGER, handover
from modelyard.clusters.kube.listing import list_all
from modelyard.clusters.kube.recorder import Recorder
from modelyard.clusters.kube.reports import Reports
from modelyard.clusters.kube.resources import ResourceType
from modelyard.contract.reports import ProgressReport
from modelyard.engine.cluster import Conflict
from modelyard.engine.events import Event

FIELD_MANAGER = "modelyard"
HEARTBEAT_SECONDS = 20.0
"""Longer than a watch waits between its tries while the API server is away."""
SETTLE_SECONDS = 1.0
MOST_SETTLES = 15
RETRY_SECONDS = 10.0
logger = logging.getLogger(__name__)


class KubeCluster:
    """Fed by ``seen`` and ``gone``, which the watches call, and by ``refresh``. For one event loop."""

    def __init__(
        self,
        client: KubeClient,
        resources: Mapping[str, ResourceType],
        namespaces: Sequence[str] = (),
        recorder: Recorder | None = None,
    ) -> None:
        """``namespaces`` are those that are watched; none: all of them. Without ``recorder``, no Events."""
        self._recorder = recorder
        self._client = client
        self._resources = resources
        self._namespaces = tuple(namespaces) or ("",)
        self._cache = Cache()
        self._stale = asyncio.Event()
        self._queues: list[asyncio.Queue[JsonObject]] = []
        self._reports = Reports()
        self._listed = False

    def report(self, pod: ObjectKey, report: ProgressReport) -> None:
        """A pod reported its progress; it is told on when that is due."""
        body = self._cache.get(pod)
        if body is not None and self._reports.put(pod, report, monotonic()):
            self._tell(body)

    def pod(self, key: ObjectKey) -> Pod | None:
        """A pod of ours, as far as a watch has shown it."""
        body = self._cache.get(key)
        return None if body is None else Pod.model_validate(body)

    def attempt_of(self, key: ObjectKey) -> int | None:
        """The attempt that an object's status names, 0 before the first; None for no such object."""
        body = self._cache.get(key)
        if body is None:
            return None
        status = body.get("status")
        attempt = status.get("attempt") if isinstance(status, dict) else None
        return attempt if isinstance(attempt, int) else 0

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
            news = self._cache.remove(body)
        except ValidationError:
            return
        if news:
            self._reports.forget(KubeObject.model_validate(body).key)
            self._tell(body)

    def missed(self) -> None:
        """A watch began anew: it shows what is there now, and keeps silent about what was deleted meanwhile."""
        self._stale.set()

    async def refresh(self) -> None:
        """List all that is watched; take note of what is there, and forget what is not. Raises ApiError."""
        self._stale.clear()
        for kind, resource in self._resources.items():
            for namespace in self._namespaces if resource.selector is not None else ():
                listing = await list_all(self._client, kind, resource, namespace)
                for body in listing.bodies:
                    self.seen(body)
                listed = [KubeObject.model_validate(body).key for body in listing.bodies]
                for body in self._cache.prune(kind, namespace, listed, listing.version):
                    self._tell(body)

    async def keep_fresh(self) -> None:
        """Refresh, until cancelled, shortly after a watch began anew and after the API server was away.

        A watch that begins anew where nothing is left shows nothing: so the API server is asked for a sign of life,
        and after an outage there is a last refresh once all watches have had the time to come back.
        """
        was_away = False
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), HEARTBEAT_SECONDS)
            stale = self._stale.is_set()
            try:
                if stale or was_away:
                    await self._settled()
                    await self.refresh()
                    was_away = was_away and stale
                else:
                    await self._client.request("GET", "/version")
            except ApiError as error:
                if not isinstance(error, NoAnswerError):
                    logger.warning("the API server refuses, looking again in %.0f s: %s", RETRY_SECONDS, error)
                was_away = True
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _settled(self) -> None:
        """Return when no watch began anew for a moment: a long list would be answered by many."""
        for _ in range(MOST_SETTLES):
            self._stale.clear()
            await asyncio.sleep(SETTLE_SECONDS)
            if not self._stale.is_set():
                return

    async def get(self, key: ObjectKey) -> JsonObject | None:
        """The object, or None; from the cache where all objects of the kind are watched. Raises ApiError."""
        return self._cache.get(key) if self._resources[key.kind].selector == "" else await self._read(key)

    async def list_keys(self, kinds: Sequence[str]) -> list[ObjectKey]:
        """The keys of all watched objects of these kinds; those that no longer exist are forgotten on the way.

        Returns once there was a list of everything; where a later one fails, what is known counts until the next.
        """
        while not await self._refreshed() and not self._listed:  # noqa: ASYNC110 - between requests
            await asyncio.sleep(RETRY_SECONDS)
        return self._cache.keys(*kinds)

    async def _refreshed(self) -> bool:
        try:
            await self.refresh()
        except ApiError as error:
            if not isinstance(error, NoAnswerError):
                logger.warning("the API server does not list its objects, trying again soon: %s", error)
            self._stale.set()
            return False
        self._listed = True
        return True

    async def children(self, owner: OwnerReference, namespace: str) -> Children:
        """What carries the owner's labels and uid, and the pods that carry its labels."""
        labels = (owner.kind, namespace, owner.name)
        owned = tuple(
            child
            for kind in (*CHILD_TYPES, *OPTIONAL_CHILD_TYPES)
            for child in self._cache.owned(labels, kind)
            if any(reference.uid == owner.uid for reference in child.metadata.owner_references)
        )
        pods = tuple(self._cache.owned(labels, Pod))
        return Children(objects=owned, pods=pods, progress=self._reports.of(pods))

    async def apply(self, child: KubeObject, owner: OwnerReference) -> bool:
        """Create the child or bring it back to the given fields; no request, and False, where it already is so.

        Raises Conflict where an object of that name belongs to somebody else, ApiError.
        """
        found = self._cache.get(child.key)
        if found is not None and not _owned_by(found, owner.uid):
            raise Conflict(f"{child.key} exists and belongs to another object; delete it or rename this one")
        if found is not None and isinstance(child, Job):
            return await self._resize(child, found)
        manifest = stamped(manifest_of(child, owner))
        if found is not None and as_applied(manifest, found):
            return False
        path = self._resources[child.kind].path(child.key)
        if found is not None and (first := handover(manifest, found, FIELD_MANAGER)) is not None:
            query = {"fieldManager": HANDOVER_MANAGER}
            await self._client.request("PATCH", path, query=query, body=first, content_type=APPLY)
        answer = await self._client.request(
            "PATCH",
            path,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )
        logger.info("%s %s/%s: applied %s", owner.kind, child.metadata.namespace, owner.name, child.key)
        self.seen(answer)
        return True

    async def _resize(self, job: Job, found: JsonObject) -> bool:
        """Give the Job its number of pods: nothing else of its spec may change once it is made. Raises ApiError."""
        wanted: JsonObject = {"parallelism": job.spec.parallelism, "completions": job.spec.completions}
        if holds({"spec": wanted}, found):
            return False
        answer = await self._client.request(
            "PATCH",
            self._resources[job.kind].path(job.key),
            query={"fieldManager": FIELD_MANAGER},
            body={"spec": wanted},
            content_type=MERGE,
        )
        logger.info("%s/%s: resized to %d pods", job.metadata.namespace, job.metadata.name, job.spec.parallelism)
        self.seen(answer)
        return True

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

    def record(self, about: KubeObject, event: Event) -> None:
        """Have an Event written, if there is a recorder, and when it comes to it."""
        if self._recorder is not None:
            self._recorder.record(about, event)

    def known(self, *kinds: str) -> Iterator[JsonObject]:
        """The objects of these watched kinds, as they are known now."""
        return (body for key in self._cache.keys(*kinds) if (body := self._cache.get(key)) is not None)

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


def _owned_by(body: JsonObject, uid: str) -> bool:
    return any(reference.uid == uid for reference in KubeObject.model_validate(body).metadata.owner_references)
