"""What an object store's refusal means: a reason, and what to do about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.keys import Keys

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_ADDRESS = re.compile(r"https?://[^/\s]+")
_DENIED_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
)
_METADATA_SERVICE = "169.254."
"""Where a client without keys asks the node for some."""


@contextmanager
def translated(uri: str, bucket: str, keys: Keys | None) -> Iterator[None]:
    """Raise obstore's errors as StorageError with a remedy; ``keys`` are those that were used."""
    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError, TimeoutError) as error:
        raise _storage_error(error, uri, bucket, keys) from error


def _storage_error(error: Exception, uri: str, bucket: str, keys: Keys | None) -> StorageError:
    text = str(error).partition("\n\nDebug source")[0]
    code = found[1] if (found := _CODE.search(text)) else ""
    status = found[1] if (found := _STATUS.search(text)) else ""
    address = found[0] if (found := _ADDRESS.search(text)) else "the object store"
    whose = f"Secret {keys.secret!r}" if keys is not None else "the pod's own identity"
    if _METADATA_SERVICE in address:
        return StorageError(
            "StorageAccessDenied", f"{uri}: the pod has no credentials; name a Secret in secretRef beside the uri"
        )
    if code == "NoSuchBucket":
        return StorageError(
            "BucketMissing", f"{uri}: there is no bucket {bucket!r} at {address}; create it, or correct the uri"
        )
    if code in _DENIED_CODES or status in ("401", "403"):
        return StorageError(
            "StorageAccessDenied",
            f"{uri}: {address} refused access ({code or f'status {status}'}); correct the keys of {whose}, or let them "
            "list, get, put and delete in this bucket",
        )
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{uri}: no such object")
    if not status:
        return StorageError(
            "StorageUnreachable",
            f"{uri}: no answer from {address}; see that it runs and can be reached from pods, or correct "
            f"AWS_ENDPOINT_URL in {whose}",
        )
    return StorageError("StorageFailed", f"{uri}: {address} answered {status} {code}".rstrip() + "; try again later")
