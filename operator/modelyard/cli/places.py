"""Where is a folder in storage for a command? As the object's own pod sees it, with the keys of its Secret."""

from pathlib import Path

from modelyard.api.metadata import ObjectKey
from modelyard.api.workloads import Secret
from modelyard.clusters.process.store import ObjectStore
from modelyard.storage.keys import keys_of
from modelyard.storage.store import Store, store_at
from modelyard.storage.uri import parse


def place(state: Path, namespace: str, uri: str, secret: str | None) -> Store:
    """The folder at ``uri``; the keys to a bucket are those of the Secret in the state folder. Raises StorageError."""
    where = parse(uri)
    if secret is None or not where.in_object_store:
        return store_at(where, None, state)
    found = ObjectStore(state / "objects").typed(ObjectKey("Secret", namespace, secret), Secret)
    content = {} if found is None else {name: text.decode().strip() for name, text in found.content.items()}
    return store_at(where, keys_of(secret, content, where.scheme), state)
