"""The children that a ModelService should have: a Service, and a Deployment for each revision that is needed. Pure."""

from collections.abc import Sequence
from typing import Literal

from modelyard.api.children import Children, Sources
from modelyard.api.containers import config_map_mount, container_resources, pod_template, storage_mounts
from modelyard.api.labels import REVISION_LABEL, labels_of
from modelyard.api.metadata import KubeObject, ObjectKey, ObjectMeta
from modelyard.api.pods import Container, EnvVar, HttpGet, Probe
from modelyard.api.quantities import parse_quantity, whole_cores
from modelyard.api.references import LocalReference, StoredArtifact
from modelyard.api.settings import Settings
from modelyard.api.workloads import (
    ConfigMap,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LabelSelector,
    RollingUpdate,
    Service,
    ServicePort,
    ServiceSpec,
)
from modelyard.contract import layout
from modelyard.contract.digest import digest_of_json, short
from modelyard.contract.runs import ArtifactPlace, BatchingRun, ServeRun
from modelyard.engine.kind import SourceReference
from modelyard.kinds.claims import claim_references
from modelyard.kinds.handoff import Handoff, given, handoff
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.modelservice.scaling import autoscaler, child_name, least_replicas
from modelyard.kinds.reporting import address, certificate_file, token_mounts

COMPONENT = "server"
HTTPS = "https"
"""The name of the Service's port where its pods speak TLS; http otherwise."""
NOT_OF_A_REVISION = {"model", "replicas", "autoscaling"}
REPLACE_GENTLY = DeploymentStrategy(rolling_update=RollingUpdate(max_surge=1, max_unavailable=0))
"""A revision's pods change only when the operator itself does; then no request may fail either."""


def references(service: ModelService) -> list[SourceReference]:
    """The job or the claim that the model comes from."""
    model = service.spec.model
    namespace = service.metadata.namespace
    if model.compression_job is not None:
        key = ObjectKey("CompressionJob", namespace, model.compression_job.name)
        return [SourceReference("spec.model.compressionJob", key)]
    if model.training_job is not None:
        key = ObjectKey("TrainingJob", namespace, model.training_job.name)
        return [SourceReference("spec.model.trainingJob", key)]
    return claim_references(namespace, {"spec.model.artifact.uri": model.artifact.uri if model.artifact else None})


def source_of(service: ModelService, sources: Sources) -> Handoff:
    """What the spec's source has to give now."""
    artifact = service.spec.model.artifact
    return given(artifact) if artifact is not None else handoff(references(service)[0], sources)


def target_of(service: ModelService, sources: Sources) -> StoredArtifact | None:
    """The artefact to serve: the source's newest, else the pinned one."""
    return source_of(service, sources).artifact or service.status.model


def revision_of(service: ModelService, artifact: StoredArtifact) -> str:
    """Hash of the model and of all that its pods are made with; the number of pods is not part of it.

    Defaults are left out, so that a field that a later version adds rolls nothing out.
    """
    spec = service.spec.model_dump(mode="json", exclude_defaults=True, exclude=NOT_OF_A_REVISION)
    keys = [] if artifact.secret is None else [artifact.secret]
    return short(digest_of_json([artifact.digest, spec, *keys]), 8)


def desired(service: ModelService, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    """The Service, the target revision, and the stable one as it is until the target has taken over."""
    artifact = target_of(service, sources)
    if artifact is None:
        return ()
    target = revision_of(service, artifact)
    stable = service.status.stable.revision if service.status.stable else target
    deployments = [deployment(service, artifact, target, settings)]
    kept = []
    serving = deployments[0]
    if stable != target:
        name = child_name(service, stable)
        kept = [found] if (found := children.find(ConfigMap, name)) is not None else []
        if (old := children.find(Deployment, name)) is not None:
            serving = old
            deployments.append(_kept(service, old))
    return [
        front(service, stable, serving),
        run_config(service, artifact, target, settings),
        *kept,
        *deployments,
        *_autoscalers(service, deployments, children),
    ]


def _kept(service: ModelService, stable: Deployment) -> Deployment:
    """The stable revision's Deployment as it is; its number of pods is the autoscaler's, or stays."""
    replicas = stable.spec.replicas
    if service.spec.autoscaling is not None:
        replicas = None
    elif replicas is None and service.status.stable is not None:
        replicas = service.status.stable.replicas
    return stable.model_copy(update={"spec": stable.spec.model_copy(update={"replicas": replicas})})


def _autoscalers(service: ModelService, deployments: Sequence[Deployment], children: Children) -> list[KubeObject]:
    scaling = service.spec.autoscaling
    if scaling is None:
        return []
    return [
        autoscaler(each, scaling, least_replicas(service, scaling, each.metadata.labels[REVISION_LABEL], children))
        for each in deployments
    ]


def front(service: ModelService, revision: str, serving: Deployment) -> Service:
    """The Service that clients talk to; it selects one revision, and has the ports that ``serving``'s pods have."""
    return Service(
        metadata=ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace, labels=_labels(service)),
        spec=ServiceSpec(
            selector={**_labels(service), REVISION_LABEL: revision},
            ports=_service_ports(serving.spec.template.spec.containers[0]),
        ),
    )


def run_config(service: ModelService, artifact: StoredArtifact, revision: str, settings: Settings) -> ConfigMap:
    """The run file of one revision."""
    spec = service.spec
    run = ServeRun(
        name=service.metadata.name,
        artifact=ArtifactPlace(uri=artifact.uri, digest=artifact.digest, secret=artifact.secret),
        cpus=whole_cores(spec.resources.limits.get("cpu")),
        intra_op_threads=spec.runtime.intra_op_threads,
        execution_providers=list(spec.runtime.execution_providers),
        batching=BatchingRun(
            mode=spec.batching.mode,
            max_batch_size=spec.batching.max_batch_size,
            max_delay_milliseconds=spec.batching.max_delay_milliseconds,
            max_queue=spec.batching.max_queue,
        ),
        grpc=spec.protocols.grpc,
        max_payload_bytes=int(parse_quantity(spec.protocols.max_payload)),
        pre_stop_seconds=spec.drain.pre_stop_seconds,
        grace_seconds=spec.drain.grace_seconds,
        token_secret=_name(spec.network.auth_secret_ref),
        tls_secret=_name(spec.network.tls_secret_ref),
    )
    data = {layout.RUN_FILE: run.to_json(), **certificate_file(settings)}
    return ConfigMap(metadata=_metadata(service, revision), data=data)


def deployment(service: ModelService, artifact: StoredArtifact, revision: str, settings: Settings) -> Deployment:
    """The pods of one revision: ready only once the model is verified, loaded and warm."""
    spec = service.spec
    labels = {**_labels(service), REVISION_LABEL: revision}
    scheme: Literal["HTTPS"] | None = None if spec.network.tls_secret_ref is None else "HTTPS"
    template = pod_template(
        component=COMPONENT,
        image=spec.runtime.image or settings.server_image,
        command=["python", "-m", "modelyard_server"],
        labels=labels,
        mounts=[
            config_map_mount(child_name(service, revision), layout.CONFIG),
            *storage_mounts(artifact, secrets=_secrets(service), read_only=True),
            *token_mounts(settings),
        ],
        env=[
            EnvVar(name="OMP_NUM_THREADS", value=str(whole_cores(spec.resources.limits.get("cpu")))),
            *address(settings, service),
            *(EnvVar(name=variable.name, value=variable.value) for variable in spec.runtime.env),
        ],
        resources=container_resources(spec.resources, spec.accelerator),
        options=spec.pod,
        ports=_container_ports(service),
        readiness=Probe(http_get=HttpGet(path="/v2/health/ready", port="http", scheme=scheme), period_seconds=1),
        liveness=Probe(
            http_get=HttpGet(path="/v2/health/live", port="http", scheme=scheme), period_seconds=10, timeout_seconds=5
        ),
        restart=True,
        grace_seconds=spec.drain.pre_stop_seconds + spec.drain.grace_seconds + 5,
    )
    return Deployment(
        metadata=_metadata(service, revision),
        spec=DeploymentSpec(
            replicas=spec.fixed_replicas,
            strategy=REPLACE_GENTLY,
            selector=LabelSelector(match_labels=labels),
            template=template,
        ),
    )


def _container_ports(service: ModelService) -> dict[str, int]:
    return {"http": layout.SERVER_PORT} | ({"grpc": layout.GRPC_PORT} if service.spec.protocols.grpc else {})


def _service_ports(container: Container) -> list[ServicePort]:
    probe = container.readiness_probe
    over_tls = probe is not None and probe.http_get.scheme == "HTTPS"
    http = ServicePort(name=HTTPS if over_tls else "http", port=443 if over_tls else 80, target_port="http")
    plain = None if over_tls else "kubernetes.io/h2c"
    grpc = ServicePort(name="grpc", port=layout.GRPC_PORT, target_port="grpc", app_protocol=plain)
    return [http, grpc] if any(port.name == "grpc" for port in container.ports) else [http]


def _secrets(service: ModelService) -> list[str]:
    network = service.spec.network
    return [each.name for each in (network.auth_secret_ref, network.tls_secret_ref) if each is not None]


def _name(reference: LocalReference | None) -> str | None:
    return None if reference is None else reference.name


def _metadata(service: ModelService, revision: str) -> ObjectMeta:
    return ObjectMeta(
        name=child_name(service, revision),
        namespace=service.metadata.namespace,
        labels={**_labels(service), REVISION_LABEL: revision},
    )


def _labels(service: ModelService) -> dict[str, str]:
    return labels_of(service.kind, service.metadata.name, COMPONENT)
