"""Object metadata, and keys that name one object."""

from dataclasses import dataclass

from pydantic import JsonValue

from modelyard.api.base import Observed

GROUP = "modelyard.dev"
API_VERSION = f"{GROUP}/v1alpha1"

JsonObject = dict[str, JsonValue]
"""An API object as JSON."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """One object: its kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def plural_of(kind: str) -> str:
    """A built-in kind's name in paths and in RBAC rules; regular for all that Modelyard uses."""
    return f"{kind.lower()}s"


class OwnerReference(Observed):
    """The object that this one is a part of; it goes when the owner goes."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = True
    block_owner_deletion: bool = False


class ObjectMeta(Observed):
    """The part of ``metadata`` that Modelyard reads and writes."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class KubeObject(Observed):
    """Any API object."""

    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> ObjectKey:
        """What names this object in the cluster."""
        return ObjectKey(self.kind, self.metadata.namespace, self.metadata.name)

    def to_manifest(self) -> JsonObject:
        """The object as JSON to apply: without status, and without metadata that is empty."""
        body: JsonObject = self.model_dump(mode="json", exclude_none=True, exclude={"status"})
        metadata = body["metadata"]
        assert isinstance(metadata, dict)
        body["metadata"] = {name: value for name, value in metadata.items() if value not in ("", 0, [], {})}
        return body
