"""Where objects of each kind live in the Kubernetes API. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.api.metadata import API_VERSION, ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.resource import Resource
from modelyard.api.workloads import CHILD_TYPES, PersistentVolumeClaim, Secret
from modelyard.engine.kind import Kind


@dataclass(frozen=True)
class ResourceType:
    """A kind in the API's terms."""

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def prefix(self) -> str:
        """The path below which the group lies."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, key: ObjectKey, subresource: str = "") -> str:
        """The path of one object."""
        tail = f"/{subresource}" if subresource else ""
        return f"{self.prefix}/namespaces/{key.namespace}/{self.plural}/{key.name}{tail}"


def resource_types(kinds: Iterable[Kind[Resource]]) -> Mapping[str, ResourceType]:
    """All kinds that the operator reads or writes, by name."""
    own = {kind.name: ResourceType(API_VERSION, kind.plural) for kind in kinds}
    plain = {
        str(model.model_fields["kind"].default): str(model.model_fields["api_version"].default)
        for model in (*CHILD_TYPES, Pod, PersistentVolumeClaim, Secret)
    }
    return {**own, **{name: ResourceType(version, f"{name.lower()}s") for name, version in plain.items()}}
