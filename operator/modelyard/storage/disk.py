"""Bytes that must be on the disk, and what is said when they cannot be."""

import errno
import os
import shutil
from pathlib import Path

from modelyard.storage.errors import StorageError


def flush(path: Path) -> None:
    """Return once the file or folder is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(error: OSError, uri: str, place: Path, otherwise: str) -> StorageError:
    """``error`` while writing ``uri`` at ``place``: StorageFull with the remedy, or the reason ``otherwise``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        existing = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        return StorageError(
            "StorageFull", f"{uri}: no space left ({free} bytes free); free space or enlarge the volume, then retry"
        )
    return StorageError(otherwise, f"{uri}: {error.strerror or error}")
