"""From changes in the cluster to keys in the queue, and from the queue to the reconcilers."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic

from pydantic import ValidationError

from modelyard.api.labels import KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.api.settings import Settings
from modelyard.engine.cluster import Cluster, ClusterError, Conflict, Unreachable
from modelyard.engine.kind import Kind
from modelyard.engine.observer import Observer, Result, Unobserved
from modelyard.engine.queue import WorkQueue
from modelyard.engine.reconcile import Reconciler, Refused

RESYNC_SECONDS = 600.0
logger = logging.getLogger(__name__)


class Controller:
    """Keeps all objects of the kinds reconciled until it is cancelled."""

    def __init__(
        self, kinds: Sequence[Kind[Resource]], cluster: Cluster, settings: Settings, observer: Observer | None = None
    ) -> None:
        self._observer: Observer = observer or Unobserved()
        self._cluster = cluster
        self._reconcilers = {kind.name: Reconciler(kind, cluster, settings) for kind in kinds}
        self._random = random.Random()  # noqa: S311  jitter
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            random_source=self._random, queued=self._observer.queued, taken=self._observer.taken
        )
        self._listed = asyncio.Event()
        self._referrers: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._referred: dict[ObjectKey, object] = {}
        """The version of each object's spec whose references are known."""

    async def run(self, workers: int = 4) -> None:
        """Watch and, once all objects are listed, work, until cancelled. Raises what the watch raises."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._resync())
            await self._listed.wait()
            for _ in range(workers):
                tasks.create_task(self._work())

    async def first_pass(self) -> None:
        """Return once every object that was there at the start has been visited, and nothing waits for work."""
        await self._listed.wait()
        await self._queue.idle()

    async def visit_all(self) -> None:
        """Visit every object as it is now, and return once nothing waits for work."""
        await self._add_all()
        await self._queue.idle()

    async def _watch(self) -> None:
        async for changed in self._cluster.changes():
            for key in self._concerned(changed):
                self._queue.add(key)

    async def _resync(self) -> None:
        while True:
            await self._add_all()
            self._listed.set()
            await asyncio.sleep(RESYNC_SECONDS * self._random.uniform(0.9, 1.1))

    async def _add_all(self) -> None:
        for key in await self._cluster.list_keys(list(self._reconcilers)):
            self._queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            began = monotonic()
            try:
                result = await self._visit(key)
            finally:
                self._queue.done(key)
            self._observer.visited(key, result, monotonic() - began)

    async def _visit(self, key: ObjectKey) -> Result:
        """Reconcile, and see to it that the key comes again when that is due."""
        try:
            revisit = await self._reconcile(key)
        except Refused:
            self._queue.forget(key)
            return "refused"
        except (ClusterError, Conflict) as error:
            delay = self._retry(key)
            level = logging.DEBUG if isinstance(error, Unreachable) else logging.WARNING
            logger.log(level, "%s: %s; again in %.1f s", key, error, delay)
            return "conflict" if isinstance(error, Conflict) else "unavailable"
        except Exception:
            delay = self._retry(key)
            logger.exception("%s: failed, again in %.1f s", key, delay)
            return "error"
        self._queue.forget(key)
        if revisit is not None:
            self._queue.add_after(key, revisit)
        return "success"

    def _retry(self, key: ObjectKey) -> float:
        self._observer.retried(key)
        return self._queue.retry(key)

    async def _reconcile(self, key: ObjectKey) -> float | None:
        reconciler = self._reconcilers[key.kind]
        body = await self._cluster.get(key)
        if body is not None and self._referred.get(key) != (version := _spec_version(body)):
            self._referred[key] = version
            for source in _sources(reconciler.kind, body):
                self._referrers[source].add(key)
        return await reconciler.reconcile(key, datetime.now(UTC))

    def _concerned(self, changed: JsonObject) -> set[ObjectKey]:
        """The keys to visit because of a change: the object itself, its owner, and what refers to it."""
        try:
            thing = KubeObject.model_validate(changed)
        except ValidationError:
            return set()
        concerned = set(self._referrers.get(thing.key, ()))
        if thing.kind in self._reconcilers:
            concerned.add(thing.key)
        for owner in thing.metadata.owner_references:
            concerned.add(ObjectKey(owner.kind, thing.metadata.namespace, owner.name))
        labels = thing.metadata.labels
        if KIND_LABEL in labels and NAME_LABEL in labels:
            concerned.add(ObjectKey(labels[KIND_LABEL], thing.metadata.namespace, labels[NAME_LABEL]))
        return {key for key in concerned if key.kind in self._reconcilers}


def _spec_version(body: JsonObject) -> tuple[object, object]:
    metadata = body.get("metadata")
    return (metadata.get("uid"), metadata.get("generation")) if isinstance(metadata, dict) else (None, None)


def _sources(kind: Kind[Resource], body: JsonObject) -> list[ObjectKey]:
    try:
        return [reference.key for reference in kind.references(kind.model.model_validate(body))]
    except ValidationError:
        return []
