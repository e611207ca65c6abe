"""Storage that is a bucket of an object store, by obstore. Nothing is renamed there: a marker, put last, commits."""

import fcntl
import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import obstore

from modelyard.contract.digest import Digest, digest_of_bytes, digest_of_file, short
from modelyard.storage.clients import Patience, connect
from modelyard.storage.disk import storage_error
from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.keys import Keys
from modelyard.storage.local import changed
from modelyard.storage.refusals import translated
from modelyard.storage.uri import StorageUri

if TYPE_CHECKING:
    from obstore import GetResult

logger = logging.getLogger(__name__)

_CHUNK = 16 * 1024 * 1024
_PARALLEL = 4
_LOG_SECONDS = 5.0


class Bucket:
    """A Store in a bucket. Downloads and uploads pass through ``transfers``, a folder of this pod."""

    def __init__(self, place: StorageUri, keys: Keys | None, transfers: Path, patience: Patience | None = None) -> None:
        """Without ``keys``: those that the pod's environment offers (variables, a web identity, the node's)."""
        self._place = place
        self._keys = keys
        self._transfers = transfers
        self._patience = patience or Patience()
        self._objects = connect(place, keys, self._patience)
        self.uri = str(place)
        self.directory = transfers / short(digest_of_bytes(self.uri.encode()))

    def __truediv__(self, name: str) -> "Bucket":
        """The folder ``name`` in this one."""
        return Bucket(self._place / name, self._keys, self._transfers, self._patience)

    def check(self) -> None:
        """One listing: the bucket is there, and the keys are taken."""
        with self._told():
            next(iter(obstore.list(self._objects, chunk_size=1)), None)

    def has(self, name: str) -> bool:
        """Whether there is an object of that name."""
        try:
            with self._told(name):
                obstore.head(self._objects, name)
        except MissingError:
            return False
        except StorageError as error:
            if error.reason == "StorageAccessDenied":
                self.check()  # the answer to a HEAD has no words
            raise
        return True

    def folders(self) -> list[str]:
        """The common prefixes, whether a marker was put there or not."""
        with self._told():
            return [str(name) for name in obstore.list_with_delimiter(self._objects)["common_prefixes"]]

    def files(self) -> list[str]:
        """The paths of all objects below; those that stand for an empty folder are left out."""
        with self._told():
            found = [str(each["path"]) for batch in obstore.list(self._objects) for each in batch]
        return sorted(path for path in found if path and not path.endswith("/"))

    def fetch(self, name: str, digest: Digest | None = None) -> Path:
        """Download an object, unless a file of that digest is here already, and verify it before it has its name."""
        target = self.directory / name
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # Ranks of one pod ask for the same checkpoint: the first downloads it, the others find it.
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.with_name(f".{target.name}.lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if digest is None or not target.is_file() or digest_of_file(target) != digest:
                    self._download(name, target, digest)
        except OSError as error:
            raise storage_error(error, f"{self.uri}/{name}", self.directory, "DownloadFailed") from error
        return target

    def _download(self, name: str, target: Path, digest: Digest | None) -> None:
        """A download that breaks off leaves what came so far, and the next one of the same object goes on there."""
        with self._told(name):
            found = obstore.get(self._objects, name)
        size = found.meta["size"]
        version = short(digest_of_bytes(f"{found.meta['e_tag']} {size}".encode()))
        partial = target.with_name(f".{target.name}.{version}.partial")
        with partial.open("a+b") as stream:
            arrived = self._copy(name, stream, found, size)
        if digest is not None and arrived != digest:
            partial.unlink()
            raise changed(f"{self.uri}/{name}", digest, arrived)
        partial.rename(target)

    def _copy(self, name: str, stream: BinaryIO, found: "GetResult", size: int) -> Digest:
        start = told = time.monotonic()
        sha256 = hashlib.sha256()
        stream.seek(0)
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
        first = done = stream.tell()
        for chunk in self._chunks(name, found, done, size):
            stream.write(chunk)
            sha256.update(chunk)
            done += len(chunk)
            if time.monotonic() - told > _LOG_SECONDS:
                told = time.monotonic()
                logger.info("%s/%s: %d of %d bytes", self.uri, name, done, size)
        seconds = time.monotonic() - start
        logger.info("%s/%s: downloaded %d bytes in %.1f s", self.uri, name, done - first, seconds)
        return f"sha256:{sha256.hexdigest()}"

    def _chunks(self, name: str, found: "GetResult", first: int, size: int) -> Iterator[bytes]:
        """The bytes of an object from ``first`` on, in order, a few requests ahead."""
        if first == 0 and size <= _CHUNK:
            with self._told(name):
                yield bytes(found.bytes())
            return

        def read(start: int) -> bytes:
            with self._told(name):
                return bytes(obstore.get_range(self._objects, name, start=start, end=min(size, start + _CHUNK)))

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="download") as pool:
            for group in range(first, size, _CHUNK * _PARALLEL):
                yield from pool.map(read, range(group, min(size, group + _CHUNK * _PARALLEL), _CHUNK))

    @contextmanager
    def staged(self, marker: str, *, replace: bool) -> Iterator[Path]:
        """A folder of this pod, uploaded at the end: the marker last, once all others have the size that they should.

        A writer that is killed leaves objects without a marker, which the next one of the same folder overwrites.
        """
        self._transfers.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="upload-", dir=self._transfers))
        try:
            yield staging
            if replace:
                self._delete([marker])
            elif self.has(marker):
                return
            for path in sorted(staging.iterdir()):
                if path.name != marker:
                    self._upload(path, path.name)
            self._upload(staging / marker, marker)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @contextmanager
    def put(self, name: str) -> Iterator[Path]:
        """A file of this pod, uploaded at the end."""
        self._transfers.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="upload-", dir=self._transfers) as folder:
            path = Path(folder) / "file"
            yield path
            self._upload(path, name)

    def _upload(self, path: Path, name: str) -> None:
        """Signed with the digest of its bytes, which the store checks, so that only the size is left to compare."""
        start = time.monotonic()
        size = path.stat().st_size
        with self._told(name):
            obstore.put(self._objects, name, path, chunk_size=_CHUNK, max_concurrency=_PARALLEL)
            stored = obstore.head(self._objects, name)["size"]
        if stored != size:
            raise StorageError(
                "StorageFailed", f"{self.uri}/{name}: {stored} of {size} bytes arrived; another writer? try again"
            )
        logger.info("%s/%s: uploaded %d bytes in %.1f s", self.uri, name, size, time.monotonic() - start)

    def remove(self) -> None:
        """Delete every object below."""
        with self._told():
            names = [str(found["path"]) for batch in obstore.list(self._objects) for found in batch]
        self._delete(names)

    def _delete(self, names: list[str]) -> None:
        """Delete these, as far as they are there: S3 does not mind what is not, Google and Azure do."""
        try:
            with self._told():
                obstore.delete(self._objects, names)
        except MissingError:
            for name in names:
                with suppress(MissingError), self._told():
                    obstore.delete(self._objects, name)

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        with translated(f"{self.uri}/{name}" if name else self.uri, self._place, self._keys):
            yield
