"""What the engine tells those who count."""

from typing import Literal, Protocol

from modelyard.api.metadata import ObjectKey

Result = Literal["success", "refused", "conflict", "unavailable", "error"]
"""How a visit ended: ``refused`` and ``conflict`` are the user's to mend, ``unavailable`` the cluster's, ``error`` is
a bug."""

Written = Literal["written", "lost"]
"""What became of an Event."""


class Observer(Protocol):
    """Told as it happens. The methods return at once and raise nothing."""

    def queued(self, key: ObjectKey, /) -> None:
        """The key waits for a worker."""

    def taken(self, key: ObjectKey, /) -> None:
        """A worker has the key, which waits no more."""

    def visited(self, key: ObjectKey, result: Result, seconds: float, /) -> None:
        """A visit ended after so many seconds."""

    def retried(self, key: ObjectKey, /) -> None:
        """The key comes again because a visit failed."""


class Unobserved:
    """Nobody counts."""

    def queued(self, key: ObjectKey, /) -> None:
        """See Observer."""

    def taken(self, key: ObjectKey, /) -> None:
        """See Observer."""

    def visited(self, key: ObjectKey, result: Result, seconds: float, /) -> None:
        """See Observer."""

    def retried(self, key: ObjectKey, /) -> None:
        """See Observer."""
