"""The Kubernetes objects that the kinds are made of: the fields that Modelyard writes or reads, typed."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from modelyard.api.autoscaling import HorizontalPodAutoscaler
from modelyard.api.base import Observed
from modelyard.api.metadata import KubeObject
from modelyard.api.pods import PodTemplate


class OnExitCodes(Observed):
    """Exit codes that a rule of a pod failure policy looks at."""

    operator: Literal["In", "NotIn"]
    values: list[int]


class OnPodCondition(Observed):
    """A pod condition that a rule of a pod failure policy looks at."""

    type: str
    status: str = "True"


class PodFailureRule(Observed):
    """A rule of a pod failure policy; exit codes or conditions are set."""

    action: Literal["FailJob", "Ignore", "Count"]
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: list[OnPodCondition] = []


class PodFailurePolicy(Observed):
    """What a Job does with failed pods; the first rule that fits decides."""

    rules: list[PodFailureRule]


class SuccessRule(Observed):
    """Indexes whose success is the Job's."""

    succeeded_indexes: str


class SuccessPolicy(Observed):
    """When a Job is complete before all its indexes are."""

    rules: list[SuccessRule]


class JobSpec(Observed):
    """A Job's spec."""

    parallelism: int = 1
    completions: int = 1
    completion_mode: Literal["Indexed", "NonIndexed"] = "NonIndexed"
    backoff_limit: int | None = None
    """Failed pods in all before the Job fails; not set where each index has a limit of its own."""
    backoff_limit_per_index: int | None = None
    success_policy: SuccessPolicy | None = None
    pod_replacement_policy: Literal["Failed", "TerminatingOrFailed"] | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    template: PodTemplate


class JobCondition(Observed):
    """A Job's condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class JobStatus(Observed):
    """What the Job controller says."""

    active: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int = 0
    start_time: str | None = None
    completion_time: str | None = None
    conditions: list[JobCondition] = []


class Job(KubeObject):
    """batch/v1 Job."""

    api_version: str = "batch/v1"
    kind: str = "Job"
    spec: JobSpec
    status: JobStatus = JobStatus()

    def condition(self, kind: str) -> JobCondition | None:
        """The Job's condition of that type if it is True."""
        return next((each for each in self.status.conditions if each.type == kind and each.status == "True"), None)


class LabelSelector(Observed):
    """Which pods belong to a Deployment."""

    match_labels: dict[str, str]


class RollingUpdate(Observed):
    """How many pods may be missing and how many too many, as a number or in percent."""

    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class DeploymentStrategy(Observed):
    """How a Deployment replaces its pods."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Observed):
    """A Deployment's spec."""

    replicas: int | None = None
    """None: somebody else sets it."""
    strategy: DeploymentStrategy | None = None
    selector: LabelSelector
    template: PodTemplate


class DeploymentStatus(Observed):
    """What the Deployment controller says."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0


class Deployment(KubeObject):
    """apps/v1 Deployment."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class ServicePort(Observed):
    """A port of a Service."""

    name: str
    port: int
    target_port: str | None = None
    app_protocol: str | None = None
    """What is spoken there, for proxies: kubernetes.io/h2c for gRPC."""


class ServiceSpec(Observed):
    """A Service's spec."""

    cluster_ip: Annotated[str | None, Field(alias="clusterIP")] = None
    selector: dict[str, str]
    ports: list[ServicePort] = []
    publish_not_ready_addresses: bool | None = None


class IngressPort(Observed):
    """A port at which a Service is reached from outside."""

    port: int


class Ingress(Observed):
    """An address at which a Service is reached from outside."""

    ip: str | None = None
    hostname: str | None = None
    ports: list[IngressPort] = []


class LoadBalancerStatus(Observed):
    """Where a Service is reached from outside."""

    ingress: list[Ingress] = []


class ServiceStatus(Observed):
    """What the cluster says of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(KubeObject):
    """v1 Service."""

    api_version: str = "v1"
    kind: str = "Service"
    spec: ServiceSpec
    status: ServiceStatus = ServiceStatus()


class ConfigMap(KubeObject):
    """v1 ConfigMap."""

    api_version: str = "v1"
    kind: str = "ConfigMap"
    data: dict[str, str] = {}
    immutable: bool | None = None


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64; use stringData for plain text") from error


class Secret(KubeObject):
    """v1 Secret."""

    api_version: str = "v1"
    kind: str = "Secret"
    data: dict[str, Annotated[bytes, BeforeValidator(_decoded)]] = {}
    string_data: dict[str, str] = {}

    @property
    def content(self) -> dict[str, bytes]:
        """The files that a pod sees."""
        return {**self.data, **{name: text.encode() for name, text in self.string_data.items()}}


class PersistentVolumeClaim(KubeObject):
    """v1 PersistentVolumeClaim; only its being there matters."""

    api_version: str = "v1"
    kind: str = "PersistentVolumeClaim"


class GangPolicy(Observed):
    """All pods of a group are placed, or none."""

    min_count: int
    """So many pods make the group."""


class GroupPolicy(Observed):
    """How the pods of a group are placed."""

    gang: GangPolicy


class PodGroupSpec(Observed):
    """A PodGroup's spec."""

    scheduling_policy: GroupPolicy


class PodGroup(KubeObject):
    """scheduling.k8s.io/v1beta1 PodGroup (KEP-4671)."""

    api_version: str = "scheduling.k8s.io/v1beta1"
    kind: str = "PodGroup"
    spec: PodGroupSpec


ChildType = (
    type[Job] | type[Deployment] | type[Service] | type[ConfigMap] | type[HorizontalPodAutoscaler] | type[PodGroup]
)
CHILD_TYPES: tuple[ChildType, ...] = (Job, Deployment, Service, ConfigMap, HorizontalPodAutoscaler)
"""The object types that a kind may be made of. Each cluster implements them."""
OPTIONAL_CHILD_TYPES: tuple[ChildType, ...] = (PodGroup,)
"""Further ones, where the cluster serves them, as Settings say."""
REFERRED_TYPES = (ConfigMap, PersistentVolumeClaim)
"""The object types, besides our own kinds, that a spec may refer to. They are read at each use."""
