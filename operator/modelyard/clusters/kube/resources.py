"""Where objects of each kind live in the Kubernetes API. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.api.labels import KIND_LABEL
from modelyard.api.metadata import API_VERSION, KubeObject, ObjectKey, plural_of
from modelyard.api.pods import Pod
from modelyard.api.resource import Resource
from modelyard.api.workloads import CHILD_TYPES, REFERRED_TYPES, ChildType
from modelyard.engine.kind import Kind


@dataclass(frozen=True)
class ResourceType:
    """A kind in the API's terms."""

    api_version: str
    plural: str
    selector: str | None = None
    """The label selector by which it is watched, empty for all objects; None: it is read at each use."""

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
        return f"{self.collection(key.namespace)}/{key.name}{tail}"

    def collection(self, namespace: str) -> str:
        """The path of all objects in a namespace or, where that is empty, in all of them."""
        return f"{self.prefix}/namespaces/{namespace}/{self.plural}" if namespace else f"{self.prefix}/{self.plural}"


def resource_types(kinds: Iterable[Kind[Resource]], optional: Iterable[ChildType] = ()) -> Mapping[str, ResourceType]:
    """All kinds that the operator reads or writes, by name; ``optional`` are those of the optional ones served here."""
    own = {kind.name: ResourceType(API_VERSION, kind.plural, selector="") for kind in kinds}
    children = {_name(model): _builtin(model, selector=KIND_LABEL) for model in (*CHILD_TYPES, *optional, Pod)}
    referred = {_name(model): _builtin(model, selector=None) for model in REFERRED_TYPES}
    return {**own, **referred, **children}


def _builtin(model: type[KubeObject], selector: str | None) -> ResourceType:
    return ResourceType(str(model.model_fields["api_version"].default), plural_of(_name(model)), selector)


def _name(model: type[KubeObject]) -> str:
    return str(model.model_fields["kind"].default)
