"""Kubernetes pods: the fields that Modelyard writes or reads, typed."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Observed
from modelyard.api.metadata import KubeObject
from modelyard.api.volumes import Volume, VolumeMount


class FieldReference(Observed):
    """A field of the pod itself."""

    field_path: str


class EnvVarSource(Observed):
    """Where a variable's value comes from."""

    field_ref: FieldReference


class EnvVar(Observed):
    """One environment variable."""

    name: str
    value: str | None = None
    value_from: EnvVarSource | None = None


class ContainerPort(Observed):
    """A port that a container listens on."""

    name: str
    container_port: int


class HttpGet(Observed):
    """An HTTP request that a probe makes."""

    path: str
    port: str
    scheme: Literal["HTTP", "HTTPS"] | None = None
    """Absent: HTTP, as the API server then writes."""


class Probe(Observed):
    """A check of a container."""

    http_get: HttpGet
    period_seconds: int = 5
    timeout_seconds: int = 2
    failure_threshold: int = 3


class Resources(Observed):
    """What a container asks for and may use."""

    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class Capabilities(Observed):
    """Linux capabilities."""

    drop: list[str]


class SecurityContext(Observed):
    """What Pod Security "restricted" asks of a container."""

    allow_privilege_escalation: bool = False
    read_only_root_filesystem: bool = True
    capabilities: Capabilities = Capabilities(drop=["ALL"])


class SeccompProfile(Observed):
    """The seccomp profile."""

    type: str = "RuntimeDefault"


class PodSecurityContext(Observed):
    """What Pod Security "restricted" asks of a pod."""

    run_as_non_root: bool = True
    run_as_user: int = 65532
    run_as_group: int = 65532
    fs_group: int = 65532
    seccomp_profile: SeccompProfile = SeccompProfile()


class Container(Observed):
    """One container."""

    name: str
    image: str
    command: list[str] = []
    args: list[str] = []
    env: list[EnvVar] = []
    ports: list[ContainerPort] = []
    resources: Resources = Resources()
    volume_mounts: list[VolumeMount] = []
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    termination_message_path: str | None = None
    security_context: SecurityContext | None = None


class PodToleration(Observed):
    """A taint of nodes that a pod does not mind."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class NodeRequirement(Observed):
    """What a label of the node must be."""

    key: str
    operator: str
    values: list[str]


class NodeTerm(Observed):
    """Requirements that must all hold."""

    match_expressions: list[NodeRequirement]


class RequiredNodes(Observed):
    """Terms of which one must hold."""

    node_selector_terms: list[NodeTerm]


class NodeAffinity(Observed):
    """Which nodes a pod may go to."""

    required: Annotated[RequiredNodes, Field(alias="requiredDuringSchedulingIgnoredDuringExecution")]


class Affinity(Observed):
    """Where a pod may go."""

    node_affinity: NodeAffinity


class SchedulingGroup(Observed):
    """The group that a pod is placed with."""

    pod_group_name: str


class PodSpec(Observed):
    """A pod's spec."""

    containers: list[Container]
    volumes: list[Volume] = []
    restart_policy: Literal["Always", "Never"] = "Always"
    subdomain: str | None = None
    hostname: str | None = None
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: list[PodToleration] = []
    priority_class_name: str | None = None
    scheduling_group: SchedulingGroup | None = None
    node_name: str | None = None
    termination_grace_period_seconds: int | None = None
    automount_service_account_token: bool | None = None
    enable_service_links: bool | None = None
    security_context: PodSecurityContext | None = None


class PodTemplateMeta(Observed):
    """The metadata of a pod template."""

    labels: dict[str, str] = {}


class PodTemplate(Observed):
    """What a controller makes pods from."""

    metadata: PodTemplateMeta = PodTemplateMeta()
    spec: PodSpec


class Waiting(Observed):
    """A container that does not run yet."""

    reason: str = ""
    message: str = ""


class Running(Observed):
    """A container that runs."""

    started_at: str | None = None


class Terminated(Observed):
    """A container that ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Observed):
    """Exactly one is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Observed):
    """What the kubelet says of a container."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(Observed):
    """A pod's condition; unlike metav1, without a generation."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodStatus(Observed):
    """What the kubelet says of a pod."""

    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"] = "Pending"
    pod_ip: Annotated[str | None, Field(alias="podIP")] = None
    reason: str = ""
    message: str = ""
    start_time: str | None = None
    conditions: list[PodCondition] = []
    container_statuses: list[ContainerStatus] = []


class Pod(KubeObject):
    """v1 Pod."""

    api_version: str = "v1"
    kind: str = "Pod"
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def scheduled(self) -> bool:
        """Whether it has a node, or had one."""
        placed = any(each.type == "PodScheduled" and each.status == "True" for each in self.status.conditions)
        return placed or self.ready or self.finished

    @property
    def ready(self) -> bool:
        """Whether traffic may go to it."""
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)

    @property
    def finished(self) -> bool:
        """Whether all its containers have ended for good, which shows a second before the phase does."""
        return self.status.phase in ("Succeeded", "Failed") or (
            self.spec.restart_policy == "Never"
            and bool(self.status.container_statuses)
            and all(status.state.terminated is not None for status in self.status.container_statuses)
        )

    @property
    def failed(self) -> bool:
        """Whether it is finished, and not as it should be."""
        ended = self.terminated
        return self.status.phase == "Failed" or (self.finished and ended is not None and ended.exit_code != 0)

    @property
    def terminated(self) -> Terminated | None:
        """How its container last ended, if it has."""
        for status in self.status.container_statuses:
            if ended := status.state.terminated or status.last_state.terminated:
                return ended
        return None
