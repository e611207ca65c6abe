"""The objects that the watches have shown, by key and by owner."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError

from modelyard.api.labels import KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey

T = TypeVar("T", bound=KubeObject)
Owner = tuple[str, str, str]
"""Kind, namespace and name, as the labels of a child give them."""


class Cache:
    """Newest known bodies. Older versions never replace newer ones; resource versions are numbers (KEP-5504)."""

    def __init__(self) -> None:
        self._bodies: dict[ObjectKey, JsonObject] = {}
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
        self._bodies[thing.key] = body
        if owner := _owner(thing):
            self._owned[owner].add(thing.key)
        return True

    def remove(self, key: ObjectKey) -> None:
        """Forget an object."""
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
