"""The interface to a cluster: all that the engine asks of a Kubernetes API, or of this machine."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from modelyard.api.children import Children
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey, OwnerReference
from modelyard.engine.events import Event


class ClusterError(Exception):
    """The cluster did not do what it was asked for now; asking again later is right. The message is for a log."""


class Unreachable(ClusterError):  # noqa: N818  said once by the cluster, not at each request
    """The cluster does not answer at all."""


class Conflict(Exception):  # noqa: N818  told to the user in a condition
    """An object of a child's name belongs to somebody else; the message names it and the remedy."""


class Cluster(Protocol):
    """Objects by key. Every method may be called again at any time with the same arguments, and raise ClusterError."""

    async def get(self, key: ObjectKey) -> JsonObject | None:
        """The object, or None. Objects may be shared: do not change them."""

    async def list_keys(self, kinds: Sequence[str]) -> list[ObjectKey]:
        """The keys of all objects of these kinds."""

    async def children(self, owner: OwnerReference, namespace: str) -> Children:
        """What ``owner`` owns now, by uid, and the pods of that."""

    async def apply(self, child: KubeObject, owner: OwnerReference) -> bool:
        """Create the child or bring it to the given fields, owned by ``owner``; False: it was so. Raises Conflict."""

    async def delete(self, key: ObjectKey) -> None:
        """Delete the object and all that it owns. No error if it is gone."""

    async def write_status(self, key: ObjectKey, status: JsonObject) -> None:
        """Replace the status of the object. No error if it is gone."""

    def record(self, about: KubeObject, event: Event) -> None:
        """Add a line to the object's history, where the cluster keeps one. Returns at once, and raises nothing.

        ``about`` is the object as it was when the change was decided: the same line about the same version is one line.
        """

    def changes(self) -> AsyncIterator[JsonObject]:
        """Each object that was created, changed or deleted, in its newest known form."""
