"""What do a command and an object's own pod see alike? Folders in storage, and the contents of Secrets."""

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
    content = {name: text.decode().strip() for name, text in secret_content(state, namespace, secret).items()}
    return store_at(where, keys_of(secret, content, where.scheme), state)


def secret_content(state: Path, namespace: str, name: str) -> dict[str, bytes]:
    """The files of a Secret; none where there is no such Secret."""
    found = ObjectStore(state / "objects").typed(ObjectKey("Secret", namespace, name), Secret)
    return {} if found is None else found.content
