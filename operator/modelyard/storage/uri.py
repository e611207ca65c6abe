"""Storage URIs: ``pvc://claim/path`` and, on a laptop only, ``file:///path``."""

import re
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract import layout
from modelyard.storage.errors import StorageError

_PART = r"/\.*[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""One part of a path: never ``.`` or ``..``, so that no path leaves its volume."""
URI_PATTERN = rf"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?({_PART})*|file://({_PART})+)$"
_PVC = re.compile(r"^pvc://([^/]+)((?:/.*)?)$")


@dataclass(frozen=True)
class StorageUri:
    """A place for artefacts: a folder of a claim, or an absolute path when ``claim`` is None."""

    claim: str | None
    path: str
    """Without leading slash for a claim."""

    def __str__(self) -> str:
        if self.claim is None:
            return f"file://{self.path}"
        return f"pvc://{self.claim}" + (f"/{self.path}" if self.path else "")

    def __truediv__(self, part: str) -> "StorageUri":
        return StorageUri(self.claim, f"{self.path}/{part}".lstrip("/") if self.claim else f"{self.path}/{part}")


def parse(text: str) -> StorageUri:
    """The parts of a storage URI. Raises StorageError (InvalidUri) for an unknown scheme, or for ``..`` in the path."""
    if re.fullmatch(URI_PATTERN, text) is None:
        raise StorageError("InvalidUri", f"{text!r} is not a storage URI; write pvc://<claim>/<path> or file:///<path>")
    if match := _PVC.match(text):
        return StorageUri(match[1], match[2].strip("/"))
    return StorageUri(None, text.removeprefix("file://"))


def local_path(text: str, root: Path | None = None) -> Path:
    """The folder or file that a URI names in this pod, or under another ``root``. It need not exist.

    Raises StorageError: InvalidUri, or ClaimNotMounted where the claim is not one of this pod's volumes.
    """
    uri = parse(text)
    if uri.claim is None:
        return Path(uri.path)
    volume = (root or layout.root()) / layout.VOLUMES / uri.claim
    if not volume.is_dir():
        raise StorageError("ClaimNotMounted", f"{text}: the PersistentVolumeClaim {uri.claim!r} is not mounted here")
    return volume / uri.path
