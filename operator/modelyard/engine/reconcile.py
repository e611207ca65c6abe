"""The one reconcile function, for every kind and every cluster."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import ValidationError

from modelyard.api import conditions
from modelyard.api.children import Children
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.api.resource import Resource, Status, settled
from modelyard.api.settings import Settings
from modelyard.engine.cluster import Cluster, Conflict
from modelyard.engine.events import events_of
from modelyard.engine.kind import Kind
from modelyard.engine.validation import problems

R = TypeVar("R", bound=Resource)
MISSING_SECONDS, LONG_MISSING_SECONDS = 10.0, 60.0
"""So often is looked for what a resource refers to, while it is new and when it is ten minutes old: not every cluster
watches all that may be referred to, and thousands may wait."""
logger = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818  told to the user in a condition
    """The object cannot be worked on as it is written; only a new spec changes that."""


class Reconciler(Generic[R]):
    """Brings the cluster to what the objects of one kind ask for."""

    def __init__(self, kind: Kind[R], cluster: Cluster, settings: Settings) -> None:
        self.kind = kind
        self._cluster = cluster
        self._settings = settings

    async def reconcile(self, key: ObjectKey, now: datetime) -> float | None:
        """Apply the desired children, delete the surplus, write the status; return seconds until the next visit.

        None means: only when something changes. Raises what the cluster raises; calling again is then right. Raises
        Refused, with the reason in the status.
        """
        body = await self._cluster.get(key)
        if body is None or _deleted(body):
            return None
        try:
            resource = self.kind.model.model_validate(body, context=self._settings)
        except ValidationError as error:
            await self._refuse(key, body, error, now)
            raise Refused(str(key)) from error
        owner = owner_of(resource)
        children = await self._cluster.children(owner, key.namespace)
        references = [each for each in self.kind.references(resource) if each.needed(children)]
        sources = {
            reference.key: found
            for reference in references
            if (found := await self._cluster.get(reference.key)) is not None
        }
        wanted = self.kind.desired(resource, sources, children, self._settings)
        try:
            applied = [await self._cluster.apply(child, owner) for child in wanted]
        except Conflict as conflict:
            await self._write(resource, stalled(resource.status, "NameTaken", str(conflict), resource, now))
            raise
        unwanted = surplus_of(children, wanted)
        for surplus in unwanted:
            logger.info("%s: deleting %s, no longer wanted", key, surplus)
            await self._cluster.delete(surplus)
        if any(applied) or unwanted:
            children = await self._cluster.children(owner, key.namespace)
        status = self.kind.observe(resource, sources, children, now)
        await self._write(resource, status)
        revisit = self.kind.revisit(resource.model_copy(update={"status": status}), now)
        if all(reference.key in sources for reference in references):
            return revisit
        again = _look_again(resource, now)
        return again if revisit is None else min(revisit, again)

    async def _write(self, resource: R, status: Status) -> None:
        """Write the status if it says something new."""
        if status == resource.status:
            return
        if status.state != resource.status.state:
            logger.info("%s: %s %s", resource.key, status.state, status.message)
        await self._cluster.write_status(resource.key, status.model_dump(mode="json", exclude_none=True))
        about = KubeObject(api_version=resource.api_version, kind=resource.kind, metadata=resource.metadata)
        self._record(about, resource.status, status)

    def _record(self, about: KubeObject, before: Status, after: Status) -> None:
        for event in events_of(before, after, self.kind.alarms):
            self._cluster.record(about, event)

    async def _refuse(self, key: ObjectKey, body: JsonObject, error: ValidationError, now: datetime) -> None:
        metadata = body.get("metadata")
        generation = metadata.get("generation", 0) if isinstance(metadata, dict) else 0
        before = body.get("status")
        before = before if isinstance(before, dict) else {}
        try:
            previous = Status.model_validate(before)
        except ValidationError:
            previous = Status()
        status = refused(previous, problems(error), generation if isinstance(generation, int) else 0, now)
        if status != previous:
            logger.warning("%s: refused: %s", key, status.message)
            await self._cluster.write_status(key, {**before, **status.model_dump(mode="json", exclude_none=True)})
            self._record(KubeObject.model_validate(body), previous, status)


def refused(previous: Status, found: Sequence[str], generation: int, now: datetime) -> Status:
    """The status of an object whose spec cannot be read; it is looked at again when the spec changes."""
    message = "; ".join(found)[:1024]
    conditions_now = [
        conditions.false(conditions.ACCEPTED, "InvalidSpec", message),
        conditions.true(conditions.STALLED, "InvalidSpec", message),
    ]
    return settled(previous, generation, now, "Refused", message, conditions_now)


def stalled(status: Status, reason: str, message: str, resource: Resource, now: datetime) -> Status:
    """The status of an object that cannot go on until somebody else has changed something."""
    accepted = conditions.true(conditions.ACCEPTED, "Valid")
    found = [accepted, conditions.true(conditions.STALLED, reason, message)]
    return settled(status, resource.metadata.generation, now, "Blocked", message, found)


def surplus_of(children: Children, wanted: Sequence[KubeObject]) -> list[ObjectKey]:
    """The owned objects that are no longer wanted, but for those that are being deleted already."""
    keep = {child.key for child in wanted}
    return [
        child.key for child in children.objects if child.key not in keep and child.metadata.deletion_timestamp is None
    ]


def owner_of(resource: Resource) -> OwnerReference:
    """The reference by which children name ``resource`` as their owner."""
    return OwnerReference(
        api_version=resource.api_version,
        kind=resource.kind,
        name=resource.metadata.name,
        uid=resource.metadata.uid,
    )


def _look_again(resource: Resource, now: datetime) -> float:
    created = resource.metadata.creation_timestamp
    age = (now - conditions.parse_timestamp(created)).total_seconds() if created else 0.0
    return min(LONG_MISSING_SECONDS, max(MISSING_SECONDS, age / 10))


def _deleted(body: JsonObject) -> bool:
    metadata = body.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("deletionTimestamp"))
