"""Storage URIs: ``pvc://claim/path``, ``s3://``, ``gs://`` and ``az://bucket/path``, on a laptop ``file:///path``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.contract import layout
from modelyard.storage.errors import StorageError

_PART = r"/\.*[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""One part of a path: never ``.`` or ``..``, so that no path leaves its volume."""
URI_PATTERN = (
    rf"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?({_PART})*"
    rf"|(s3|gs|az)://[a-z0-9][-a-z0-9._]{{1,61}}[a-z0-9]({_PART})*"
    rf"|file://({_PART})+)$"
)
_PARTS = re.compile(r"^(pvc|s3|gs|az)://([^/]+)((?:/.*)?)$")

Scheme = Literal["pvc", "s3", "gs", "az", "file"]
OBJECT_STORES: Mapping[str, Scheme] = {"s3": "s3", "gs": "gs", "az": "az"}
"""Schemes of storage that is reached over the network, with a Secret's keys or the pod's own identity."""


@dataclass(frozen=True)
class StorageUri:
    """A place for artefacts: a folder of a claim or of a bucket, or an absolute path when ``host`` is empty."""

    scheme: Scheme
    host: str
    """The claim, or the bucket, which Azure calls container."""
    path: str
    """Without leading slash, but for an absolute path."""

    @property
    def claim(self) -> str | None:
        """The PersistentVolumeClaim that holds it, if one does."""
        return self.host if self.scheme == "pvc" else None

    @property
    def in_object_store(self) -> bool:
        """Whether it is reached over the network, so that credentials may be needed."""
        return self.scheme in OBJECT_STORES

    @property
    def name(self) -> str:
        """The last part of the path; empty where there is none."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> "StorageUri":
        """The folder that holds it."""
        above = self.path.rpartition("/")[0]
        return StorageUri(self.scheme, self.host, above or ("" if self.host else "/"))

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file://{self.path}"
        return f"{self.scheme}://{self.host}" + (f"/{self.path}" if self.path else "")

    def __truediv__(self, part: str) -> "StorageUri":
        below = f"{self.path}/{part}"
        return StorageUri(self.scheme, self.host, below.lstrip("/") if self.host else below)


def parse(text: str) -> StorageUri:
    """The parts of a storage URI. Raises StorageError (InvalidUri) for an unknown scheme, or for ``..`` in the path."""
    if re.fullmatch(URI_PATTERN, text) is None:
        raise StorageError(
            "InvalidUri",
            f"{text!r} is not a storage URI; write pvc://<claim>/<path>, s3://, gs:// or az://<bucket>/<path>, or file:///<path>",
        )
    if match := _PARTS.match(text):
        return StorageUri(OBJECT_STORES.get(match[1], "pvc"), match[2], match[3].strip("/"))
    return StorageUri("file", "", text.removeprefix("file://"))


def local_path(uri: StorageUri, root: Path | None = None) -> Path:
    """The folder or file that a URI of a claim or a path names in this pod, or under another ``root``.

    It need not exist. Raises StorageError (ClaimNotMounted) where the claim is not one of this pod's volumes, and
    ValueError for an object store.
    """
    if uri.in_object_store:
        raise ValueError(f"{uri} has no path in this pod")
    if uri.claim is None:
        return Path(uri.path)
    volume = (root or layout.root()) / layout.VOLUMES / uri.claim
    if not volume.is_dir():
        raise StorageError("ClaimNotMounted", f"{uri}: the PersistentVolumeClaim {uri.claim!r} is not mounted here")
    return volume / uri.path
