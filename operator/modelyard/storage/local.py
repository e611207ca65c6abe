"""Storage that is a folder of this pod: of a mounted volume, or any on a laptop."""

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract.digest import Digest, digest_of_file
from modelyard.storage.disk import flush
from modelyard.storage.errors import MissingError, StorageError

PARTIAL = ".partial-"
"""The beginning of the names of folders that are being filled."""


@dataclass(frozen=True)
class LocalFolder:
    """A Store whose files appear by rename, flushed to the disk."""

    uri: str
    directory: Path

    def __truediv__(self, name: str) -> "LocalFolder":
        """The folder ``name`` in this one."""
        return LocalFolder(f"{self.uri.rstrip('/')}/{name}", self.directory / name)

    def check(self) -> None:
        """A mounted volume is there."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.directory / name).is_file()

    def folders(self) -> list[str]:
        """The names of the folders in it, those that are being filled among them."""
        return [path.name for path in self.directory.glob("*") if path.is_dir()]

    def files(self) -> list[str]:
        """The paths of all files in it and in its folders, but for folders that are being filled."""
        found = (path.relative_to(self.directory) for path in self.directory.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if not any(part.startswith(PARTIAL) for part in path.parts))

    def fetch(self, name: str, digest: Digest | None = None) -> Path:
        """The file where it lies."""
        path = self.directory / name
        try:
            found = digest_of_file(path) if digest is not None else None
            path.stat()
        except OSError as error:
            raise MissingError(f"{self.uri}/{name}: {error.strerror}") from error
        if found != digest:
            raise changed(f"{self.uri}/{name}", digest, found)
        return path

    @contextmanager
    def staged(self, marker: str, *, replace: bool) -> Iterator[Path]:
        """A folder beside this one, renamed into place at the end."""
        partial = self.directory.with_name(f"{PARTIAL}{uuid.uuid4().hex[:12]}")
        partial.mkdir(parents=True)
        try:
            yield partial
            for path in (*partial.iterdir(), partial):
                flush(path)
            self._take(partial, marker, replace=replace)
            flush(self.directory.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _take(self, partial: Path, marker: str, *, replace: bool) -> None:
        try:
            partial.rename(self.directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        if self.has(marker) and not replace:
            return
        earlier = self.directory.with_name(f"{PARTIAL}{uuid.uuid4().hex[:12]}")
        self.directory.rename(earlier)
        try:
            partial.rename(self.directory)
        except OSError:
            earlier.rename(self.directory)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    @contextmanager
    def put(self, name: str) -> Iterator[Path]:
        """A file beside it, renamed at the end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.directory / f"{PARTIAL}{uuid.uuid4().hex[:12]}"
        try:
            yield partial
            flush(partial)
            partial.rename(self.directory / name)
            flush(self.directory)
        finally:
            partial.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder with all that is in it, as far as that is possible."""
        shutil.rmtree(self.directory, ignore_errors=True)


def changed(uri: str, expected: Digest | None, found: Digest | None) -> StorageError:
    """The error that a file has other bytes than its digest says."""
    return StorageError("DigestMismatch", f"{uri} was changed: expected {expected}, found {found}")
