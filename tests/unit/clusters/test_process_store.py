"""The store of a process cluster."""

from pathlib import Path

import pytest

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.clusters.process.store import ObjectStore

KEY = ObjectKey("ConfigMap", "default", "code")


def body(data: dict[str, str], **extra: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code", **extra}, "data": dict(data)}


def metadata(store: ObjectStore) -> JsonObject:
    found = store.get(KEY)
    assert found is not None
    assert isinstance(found["metadata"], dict)
    return found["metadata"]


def test_an_object_is_there_again_after_a_restart(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put(KEY, body({"a": "1"}))
    assert ObjectStore(tmp_path).get(KEY) == store.get(KEY)


def test_putting_the_same_changes_nothing_and_tells_nobody(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put(KEY, body({"a": "1"}))
    told: list[JsonObject] = []
    store.listener = told.append
    before = dict(metadata(store))
    store.put(KEY, body({"a": "1"}))
    assert (metadata(store), told) == (before, [])


def test_only_a_change_of_the_spec_raises_the_generation(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put(KEY, body({"a": "1"}))
    uid = metadata(store)["uid"]
    store.put(KEY, {**body({"a": "1"}), "status": {"state": "Ready"}})
    assert (metadata(store)["generation"], metadata(store)["resourceVersion"]) == (1, "2")
    store.put(KEY, body({"a": "2"}))
    assert (metadata(store)["generation"], metadata(store)["uid"]) == (2, uid)


def test_a_deleted_object_is_told_once_and_gone(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put(KEY, body({}))
    told: list[JsonObject] = []
    store.listener = told.append
    store.delete(KEY)
    store.delete(KEY)
    assert (len(told), store.get(KEY), ObjectStore(tmp_path).keys()) == (1, None, [])


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden"])
def test_a_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        ObjectStore(tmp_path).put(ObjectKey("ConfigMap", "default", name), body({}))
