"""What an object store's refusal means: a reason, and what to do about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.keys import NAMES, Keys
from modelyard.storage.uri import StorageUri

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_ADDRESS = re.compile(r"https?://[^/\s]+")
_NO_BUCKET_CODES = frozenset({"NoSuchBucket", "ContainerNotFound"})
_DENIED_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
    | {"AuthenticationFailed", "AuthorizationFailure", "InvalidAuthenticationInfo"}
)
_METADATA_SERVICES = ("169.254.", "metadata.google.internal")
"""Where a client without keys asks the node for some."""


@contextmanager
def translated(uri: str, place: StorageUri, keys: Keys | None) -> Iterator[None]:
    """Raise obstore's errors as StorageError with a remedy; ``keys`` are those that were used."""
    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError, TimeoutError) as error:
        raise _storage_error(error, uri, place, keys) from error


def _storage_error(error: Exception, uri: str, place: StorageUri, keys: Keys | None) -> StorageError:
    text = str(error).partition("\n\nDebug source")[0]
    code = found[1] if (found := _CODE.search(text)) else ""
    status = found[1] if (found := _STATUS.search(text)) else ""
    address = found[0] if (found := _ADDRESS.search(text)) else "the object store"
    whose = f"Secret {keys.secret!r}" if keys is not None else "the pod's own identity"
    if any(service in address for service in _METADATA_SERVICES):
        return StorageError(
            "StorageAccessDenied", f"{uri}: the pod has no credentials; name a Secret in secretRef beside the uri"
        )
    if code in _NO_BUCKET_CODES:
        return StorageError(
            "BucketMissing", f"{uri}: there is no bucket {place.host!r} at {address}; create it, or correct the uri"
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
            f"{NAMES[place.scheme].endpoint} in {whose}",
        )
    return StorageError("StorageFailed", f"{uri}: {address} answered {status} {code}".rstrip() + "; try again later")
