"""The objects of a process cluster: one JSON file each, kept in memory while a cluster runs."""

import contextlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from modelyard.api.conditions import timestamp
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey
from modelyard.contract.reports import replace_file

T = TypeVar("T", bound=KubeObject)
_SAFE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


class ObjectStore:
    """Objects by key. Every change is on disk before it is told to the listener."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: dict[ObjectKey, JsonObject] = {}
        self._typed: dict[tuple[ObjectKey, type[KubeObject]], KubeObject] = {}
        self.listener: Callable[[JsonObject], None] = lambda _: None
        for path in sorted(folder.glob("*/*/*.json")):
            key = ObjectKey(path.parent.name, path.parent.parent.name, path.stem)
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, by the cluster's owner
                self._objects[key] = json.loads(path.read_text())

    def get(self, key: ObjectKey) -> JsonObject | None:
        """The object, or None. It is shared: do not change it."""
        return self._objects.get(key)

    def typed(self, key: ObjectKey, kind: type[T]) -> T | None:
        """The object as ``kind``, or None. Raises pydantic.ValidationError."""
        body = self._objects.get(key)
        if body is None:
            return None
        cached = self._typed.get((key, kind))
        if cached is None:
            cached = self._typed[key, kind] = kind.model_validate(body)
        assert isinstance(cached, kind)
        return cached

    def every(self, kind: type[T]) -> Iterator[T]:
        """All objects of the kind that ``kind`` models, by key."""
        name = kind.model_fields["kind"].default
        for key in self.keys(name):
            if (found := self.typed(key, kind)) is not None:
                yield found

    def things(self) -> list[KubeObject]:
        """All objects, of whatever kind, as far as every object is alike."""
        return [thing for key in self.keys() if (thing := self.typed(key, KubeObject)) is not None]

    def keys(self, *kinds: str) -> list[ObjectKey]:
        """The keys of all objects, or of those of the given kinds, sorted."""
        return sorted(key for key in self._objects if not kinds or key.kind in kinds)

    def put(self, key: ObjectKey, body: JsonObject) -> None:
        """Create or replace an object; uid, creation time, generation and resourceVersion are kept by the store.

        Putting what is there already changes nothing and tells nobody. Raises OSError.
        """
        old = self._objects.get(key)
        new = _with_metadata(body, old)
        if old is not None and _without_version(old) == _without_version(new):
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(new, indent=1))
        self._objects[key] = new
        self._forget_typed(key)
        self.listener(new)

    def delete(self, key: ObjectKey) -> None:
        """Remove an object; no error if it is gone."""
        old = self._objects.pop(key, None)
        if old is None:
            return
        self._path(key).unlink(missing_ok=True)
        self._forget_typed(key)
        self.listener(old)

    def _forget_typed(self, key: ObjectKey) -> None:
        for cached in [each for each in self._typed if each[0] == key]:
            del self._typed[cached]

    def _path(self, key: ObjectKey) -> Path:
        for part in (key.namespace, key.kind, key.name):
            if _SAFE.match(part) is None:
                raise ValueError(f"{part!r} is not a name")
        return self._folder / key.namespace / key.kind / f"{key.name}.json"


def _with_metadata(body: JsonObject, old: JsonObject | None) -> JsonObject:
    metadata = dict(_metadata(body))
    before = _metadata(old) if old is not None else {}
    metadata["uid"] = before.get("uid") or str(uuid.uuid4())
    metadata["creationTimestamp"] = before.get("creationTimestamp") or timestamp(datetime.now(UTC))
    generation = before.get("generation", 0)
    version = before.get("resourceVersion", "0")
    assert isinstance(generation, int)
    assert isinstance(version, str)
    same_spec = old is not None and all(old.get(part) == body.get(part) for part in ("spec", "data", "stringData"))
    metadata["generation"] = generation if same_spec else generation + 1
    metadata["resourceVersion"] = str(int(version) + 1)
    return {**body, "metadata": metadata}


def _without_version(body: JsonObject) -> JsonObject:
    return {**body, "metadata": {key: each for key, each in _metadata(body).items() if key != "resourceVersion"}}


def _metadata(body: JsonObject) -> JsonObject:
    metadata = body.get("metadata")
    assert isinstance(metadata, dict)
    return metadata
