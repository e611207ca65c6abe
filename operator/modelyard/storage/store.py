"""A folder in storage: what any storage must be able to do, and which one a URI asks for."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from modelyard.contract import layout
from modelyard.contract.digest import Digest
from modelyard.storage.errors import MissingError
from modelyard.storage.keys import Keys, mounted_keys
from modelyard.storage.local import LocalFolder
from modelyard.storage.uri import StorageUri, local_path, parse


class Store(Protocol):
    """A folder whose files are read one by one, and appear together or not at all.

    Every method raises StorageError where the storage cannot be reached, and OSError where this pod's disk fails.
    """

    @property
    def uri(self) -> str:
        """Where it is."""

    @property
    def directory(self) -> Path:
        """Where ``fetch`` leaves its files in this pod."""

    def __truediv__(self, name: str) -> "Store":
        """The folder ``name`` in this one."""

    def check(self) -> None:
        """Return if the storage can be reached; the folder need not exist."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def folders(self) -> list[str]:
        """The names of the folders in it."""

    def files(self) -> list[str]:
        """The paths of all files in it and in its folders, sorted; empty where there is no such folder."""

    def fetch(self, name: str, digest: Digest | None = None) -> Path:
        """A file as one of this pod, of the given digest.

        Raises StorageError: MissingError, or DigestMismatch naming the file and both digests.
        """

    def staged(self, marker: str, *, replace: bool) -> AbstractContextManager[Path]:
        """An empty folder of this pod to fill: at the end of the block, and not before, its files are this folder's.

        The file ``marker`` comes last: who sees it sees all. What lay here is replaced, or kept if it has the marker
        and ``replace`` is false. A block that raises, or is killed, changes nothing that a reader may see.
        """

    def put(self, name: str) -> AbstractContextManager[Path]:
        """A path of this pod to write a file to: at the end of the block, and not before, it is this folder's ``name``.

        What had that name is replaced. A block that raises, or is killed, changes nothing that a reader may see.
        """

    def remove(self) -> None:
        """Delete the folder with all that is in it, as far as it is there."""


def open_store(uri: str, secret: str | None = None) -> Store:
    """The folder behind ``uri``, with the keys of the Secret that is mounted under that name.

    Raises StorageError: InvalidUri, ClaimNotMounted, SecretMissing, SecretInvalid.
    """
    return _of_this_pod(parse(uri), secret)


def fetch_file(uri: str, secret: str | None = None, digest: Digest | None = None) -> Path:
    """A single file as one of this pod. Raises what ``open_store`` and ``Store.fetch`` raise."""
    place = parse(uri)
    if not place.name:
        raise MissingError(f"{uri} names no file")
    return _of_this_pod(place.parent, secret).fetch(place.name, digest)


def store_at(place: StorageUri, keys: Keys | None, root: Path) -> Store:
    """The folder at ``place`` as a pod sees it whose paths are under ``root``. Raises StorageError: ClaimNotMounted."""
    if not place.in_object_store:
        return LocalFolder(str(place), local_path(place, root))
    # Only who uses an object store needs its client; the operator's image has none.
    from modelyard.storage.bucket import Bucket  # noqa: PLC0415

    return Bucket(place, keys, root / layout.WORK / layout.TRANSFERS)


def _of_this_pod(place: StorageUri, secret: str | None) -> Store:
    keys = mounted_keys(secret, place.scheme) if secret is not None and place.in_object_store else None
    return store_at(place, keys, layout.root())
