"""Pods as Modelyard makes them: one container, all paths under one root, Pod Security "restricted"."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, rule
from modelyard.api.pods import (
    Affinity,
    Container,
    ContainerPort,
    EnvVar,
    NodeAffinity,
    NodeRequirement,
    NodeTerm,
    PodSecurityContext,
    PodSpec,
    PodTemplate,
    PodTemplateMeta,
    PodToleration,
    Probe,
    RequiredNodes,
    Resources,
    SchedulingGroup,
    SecurityContext,
)
from modelyard.api.quantities import Quantity
from modelyard.api.references import Location, claims_of, secrets_of
from modelyard.api.volumes import (
    ClaimSource,
    ConfigMapSource,
    EmptyDirSource,
    ProjectedSource,
    Projection,
    SecretSource,
    TokenProjection,
    Volume,
    VolumeMount,
)
from modelyard.contract import layout


class ResourceRequirements(Model):
    """What one pod asks for and may use, as in a container's resources."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """The least that the pod needs: cpu, memory."""
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """The most that the pod may use: cpu, memory. Threads follow the CPU limit."""


class Accelerator(Model):
    """GPUs, or the like, for each pod."""

    type: Annotated[str, Field(max_length=128, pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$")]
    """The extended resource, such as nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many for each pod."""


class Toleration(Model):
    """A taint that the pods do not mind, as in a pod. The taint of the accelerator's own nodes is tolerated anyway."""

    key: Annotated[str | None, Field(min_length=1, max_length=316)] = None
    """The taint's key. Default: every taint, with operator Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists: whatever the taint's value. Equal: with this value."""
    value: Annotated[str | None, Field(max_length=63)] = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Default: any."""
    toleration_seconds: Annotated[int | None, Field(ge=0)] = None
    """With effect NoExecute: so long, and no longer."""

    @rule(
        "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        "set key, or operator Exists for every taint",
    )
    def _equal_has_key(self) -> bool:
        return self.key is not None or self.operator == "Exists"

    @rule("!has(self.value) || !has(self.operator) || self.operator == 'Equal'", "operator Exists takes no value")
    def _exists_has_no_value(self) -> bool:
        return self.value is None or self.operator == "Equal"

    @rule(
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "tolerationSeconds goes with effect NoExecute",
    )
    def _seconds_need_no_execute(self) -> bool:
        return self.toleration_seconds is None or self.effect == "NoExecute"


class PodOptions(Model):
    """A closed list of what may be said about the pods themselves."""

    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    """Taints of nodes that the pods do not mind."""


NO_RESOURCES = Resources()
NO_OPTIONS = PodOptions()
NO_PORTS: Mapping[str, int] = {}


def tolerations_of(options: PodOptions, resources: Resources) -> list[PodToleration]:
    """What the spec says, and the taint by which nodes with an accelerator keep other pods away.

    Its key is the extended resource's name, such as nvidia.com/gpu; the resource is known by its ``/``.
    """
    asked = [PodToleration.model_validate(each.model_dump(exclude_none=True)) for each in options.tolerations]
    extended = sorted(name for name in {**resources.limits, **resources.requests} if "/" in name)
    return asked + [PodToleration(key=name, operator="Exists", effect="NoSchedule") for name in extended]


def container_resources(wanted: ResourceRequirements, accelerator: Accelerator | None) -> Resources:
    """The container's resources; an accelerator is asked for as a limit, as Kubernetes demands."""
    limits = dict(wanted.limits)
    if accelerator is not None:
        limits[accelerator.type] = str(accelerator.count)
    return Resources(requests=wanted.requests, limits=limits)


def config_map_mount(config_map: str, folder: str) -> tuple[Volume, VolumeMount]:
    """A ConfigMap, read-only, as a folder under the root."""
    return (
        Volume(name=folder, config_map=ConfigMapSource(name=config_map)),
        VolumeMount(name=folder, mount_path=layout.mount_path(folder), read_only=True),
    )


def claim_mounts(*uris: str | None, read_only: bool = False) -> list[tuple[Volume, VolumeMount]]:
    """The volumes and mounts that these storage URIs need; numbered, since a claim's name can be no volume's name."""
    return [
        (
            Volume(
                name=f"claim-{number}",
                persistent_volume_claim=ClaimSource(claim_name=claim, read_only=read_only or None),
            ),
            VolumeMount(
                name=f"claim-{number}",
                mount_path=layout.mount_path(layout.VOLUMES, claim),
                read_only=read_only or None,
            ),
        )
        for number, claim in enumerate(claims_of(*uris))
    ]


def secret_mounts(*secrets: str) -> list[tuple[Volume, VolumeMount]]:
    """Secrets as folders, read-only. The pod starts without one that is missing, to say so itself."""
    return [
        (
            Volume(name=f"secret-{number}", secret=SecretSource(secret_name=secret, optional=True)),
            VolumeMount(name=f"secret-{number}", mount_path=layout.mount_path(layout.SECRETS, secret), read_only=True),
        )
        for number, secret in enumerate(secrets)
    ]


def storage_mounts(
    *places: Location | None, secrets: Sequence[str] = (), read_only: bool = False
) -> list[tuple[Volume, VolumeMount]]:
    """The volumes and mounts that these places in storage need: claims, and the Secrets with the keys to buckets.

    ``secrets`` are further Secrets.
    """
    uris = [place.uri for place in places if place is not None]
    keys = dict.fromkeys([*secrets_of(*places), *secrets])
    return [*claim_mounts(*uris, read_only=read_only), *secret_mounts(*keys)]


def scratch_mount(folder: str) -> tuple[Volume, VolumeMount]:
    """A folder that lives as long as the pod."""
    return (
        Volume(name=folder, empty_dir=EmptyDirSource()),
        VolumeMount(name=folder, mount_path=layout.mount_path(folder)),
    )


def token_mount(audience: str, folder: str) -> tuple[Volume, VolumeMount]:
    """A token of the pod's service account that only ``audience`` takes, as the file ``token`` in a folder."""
    projection = Projection(service_account_token=TokenProjection(audience=audience, path="token"))
    return (
        Volume(name=folder, projected=ProjectedSource(sources=[projection])),
        VolumeMount(name=folder, mount_path=layout.mount_path(folder), read_only=True),
    )


def away_from(nodes: Sequence[str]) -> Affinity | None:
    """The affinity that keeps pods away from these nodes, None for none."""
    if not nodes:
        return None
    term = NodeTerm(
        match_expressions=[NodeRequirement(key="kubernetes.io/hostname", operator="NotIn", values=list(nodes))]
    )
    return Affinity(node_affinity=NodeAffinity(required=RequiredNodes(node_selector_terms=[term])))


def pod_template(
    *,
    component: str,
    image: str,
    command: Sequence[str],
    labels: Mapping[str, str],
    mounts: Sequence[tuple[Volume, VolumeMount]],
    env: Sequence[EnvVar] = (),
    resources: Resources = NO_RESOURCES,
    options: PodOptions = NO_OPTIONS,
    ports: Mapping[str, int] = NO_PORTS,
    readiness: Probe | None = None,
    liveness: Probe | None = None,
    subdomain: str | None = None,
    restart: bool = False,
    grace_seconds: int = 30,
    affinity: Affinity | None = None,
    priority_class: str | None = None,
    group: str | None = None,
) -> PodTemplate:
    """A pod with one container that runs ``command``, with ``work`` as scratch folder and a read-only root.

    ``ports`` are by name. ``restart`` is True for servers and False for jobs.
    """
    temporary = Volume(name="tmp", empty_dir=EmptyDirSource())
    all_mounts = [
        *mounts,
        scratch_mount(layout.WORK),
        (temporary, VolumeMount(name="tmp", mount_path="/tmp")),  # noqa: S108  a folder of the pod's own
    ]
    container = Container(
        name=component,
        image=image,
        command=list(command),
        env=[EnvVar(name="PYTHONUNBUFFERED", value="1"), *env],
        ports=[ContainerPort(name=name, container_port=port) for name, port in ports.items()],
        resources=resources,
        volume_mounts=[mount for _, mount in all_mounts],
        readiness_probe=readiness,
        liveness_probe=liveness,
        termination_message_path=layout.mount_path(layout.TERMINATION_LOG),
        security_context=SecurityContext(),
    )
    return PodTemplate(
        metadata=PodTemplateMeta(labels=dict(labels)),
        spec=PodSpec(
            containers=[container],
            volumes=[volume for volume, _ in all_mounts],
            restart_policy="Always" if restart else "Never",
            subdomain=subdomain,
            node_selector=options.node_selector,
            affinity=affinity,
            tolerations=tolerations_of(options, resources),
            priority_class_name=priority_class,
            scheduling_group=SchedulingGroup(pod_group_name=group) if group is not None else None,
            termination_grace_period_seconds=grace_seconds,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=PodSecurityContext(),
        ),
    )
