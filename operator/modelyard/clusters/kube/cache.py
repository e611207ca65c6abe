"""The objects that watches and lists have shown, by key and by owner."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import ValidationError

from modelyard.api.labels import KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey

T = TypeVar("T", bound=KubeObject)
Owner = tuple[str, str, str]
"""Kind, namespace and name, as the labels of a child give them."""


class Cache:
    """Newest known bodies. Nothing old replaces what is newer, be it a body or a deletion, whichever comes first.

    Resource versions are numbers that can be compared (KEP-5504).
    """

    def __init__(self) -> None:
        self._bodies: dict[ObjectKey, JsonObject] = {}
        self._deleted: dict[ObjectKey, int] = {}
        """At which version an object was deleted, until a list of its kind is newer."""
        self._owned: defaultdict[Owner, set[ObjectKey]] = defaultdict(set)

    def get(self, key: ObjectKey) -> JsonObject | None:
        """The newest known body, or None."""
        return self._bodies.get(key)

    def keys(self, *kinds: str) -> list[ObjectKey]:
        """The keys of all objects of these kinds, sorted."""
        return sorted(key for key in self._bodies if key.kind in kinds)

    def owned(self, owner: Owner, kind: type[T]) -> Iterator[T]:
        """The objects of one kind that carry the owner's labels. Those that cannot be read are left out."""
        name = str(kind.model_fields["kind"].default)
        for key in sorted(self._owned.get(owner, ())):
            if key.kind != name:
                continue
            try:
                yield kind.model_validate(self._bodies[key])
            except ValidationError:
                continue

    def put(self, body: JsonObject) -> bool:
        """Take note of a body; returns whether it is news. Raises pydantic.ValidationError for what is no object."""
        thing = KubeObject.model_validate(body)
        old = self._bodies.get(thing.key)
        if old is not None and _version(old) >= _version(body) and _uid(old) == _uid(body):
            return False
        if _version(body) < self._deleted.get(thing.key, 0):
            return False
        self._deleted.pop(thing.key, None)
        self._bodies[thing.key] = body
        if owner := _owner(thing):
            self._owned[owner].add(thing.key)
        return True

    def remove(self, body: JsonObject) -> bool:
        """Take note of a deletion, by the body of it; returns whether it is news. Raises as ``put``."""
        key = KubeObject.model_validate(body).key
        old = self._bodies.get(key)
        if old is not None and _version(old) > _version(body):
            return False
        self._deleted[key] = max(_version(body), self._deleted.get(key, 0))
        self._forget(key)
        return True

    def prune(self, kind: str, namespace: str, listed: Iterable[ObjectKey], version: int) -> list[JsonObject]:
        """Forget what a list of that version lacks, in one namespace or, where that is empty, in all; returns that."""
        keep = set(listed)
        gone = [
            (key, body)
            for key, body in self._bodies.items()
            if key.kind == kind and key.namespace == (namespace or key.namespace)
            if key not in keep and _version(body) <= version
        ]
        for key, _ in gone:
            self._forget(key)
        self._deleted = {key: at for key, at in self._deleted.items() if key.kind != kind or at > version}
        return [body for _, body in gone]

    def _forget(self, key: ObjectKey) -> None:
        body = self._bodies.pop(key, None)
        if body is not None and (owner := _owner(KubeObject.model_validate(body))):
            self._owned[owner].discard(key)
            if not self._owned[owner]:
                del self._owned[owner]


def _owner(thing: KubeObject) -> Owner | None:
    labels = thing.metadata.labels
    if KIND_LABEL not in labels or NAME_LABEL not in labels:
        return None
    return labels[KIND_LABEL], thing.metadata.namespace, labels[NAME_LABEL]


def _version(body: JsonObject) -> int:
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return int(version) if isinstance(version, str) and version.isdecimal() else 0


def _uid(body: JsonObject) -> object:
    metadata = body.get("metadata")
    return metadata.get("uid") if isinstance(metadata, dict) else None
