"""What can go wrong with stored bytes, with a reason for a condition and a message with the remedy."""


class StorageError(Exception):
    """``reason`` is CamelCase for a condition, ``str(error)`` is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class MissingError(StorageError):
    """There is no such file."""

    def __init__(self, message: str) -> None:
        super().__init__("FileMissing", message)


ACCESS_REASONS = frozenset(
    {"SecretMissing", "SecretInvalid", "StorageAccessDenied", "BucketMissing", "StorageUnreachable", "StorageFailed"}
)
"""Why an object store cannot be read or written at all, whatever lies there."""
