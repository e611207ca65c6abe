"""The children that a ModelService should have: a Service, and a Deployment for each revision that is needed. Pure."""

from collections.abc import Sequence

from modelyard.api.children import Children, Sources
from modelyard.api.containers import config_map_mount, container_resources, pod_template, storage_mounts
from modelyard.api.labels import REVISION_LABEL, labels_of
from modelyard.api.metadata import KubeObject, ObjectKey, ObjectMeta
from modelyard.api.pods import EnvVar, HttpGet, Probe
from modelyard.api.quantities import parse_quantity, whole_cores
from modelyard.api.references import StoredArtifact, claims_of
from modelyard.api.settings import Settings
from modelyard.api.workloads import (
    ConfigMap,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    Service,
    ServicePort,
    ServiceSpec,
)
from modelyard.contract import layout
from modelyard.contract.digest import digest_of_json, short
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.engine.kind import SourceReference
from modelyard.kinds.handoff import Handoff, given, handoff
from modelyard.kinds.modelservice.model import ModelService

COMPONENT = "server"


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
    return [
        SourceReference("spec.model.artifact.uri", ObjectKey("PersistentVolumeClaim", namespace, claim))
        for claim in claims_of(model.artifact.uri if model.artifact else None)
    ]


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
    spec = service.spec.model_dump(mode="json", exclude_defaults=True, exclude={"model", "replicas"})
    keys = [] if artifact.secret is None else [artifact.secret]
    return short(digest_of_json([artifact.digest, spec, *keys]), 8)


def child_name(service: ModelService, revision: str) -> str:
    """The name of a revision's Deployment and run file."""
    return f"{service.metadata.name}-serve-{revision}"


def desired(service: ModelService, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    """The Service, the target revision, and the stable one as it is until the target has taken over."""
    artifact = target_of(service, sources)
    if artifact is None:
        return ()
    target = revision_of(service, artifact)
    stable = service.status.stable.revision if service.status.stable else target
    kept = [
        found
        for kind in (ConfigMap, Deployment)
        if stable != target and (found := children.find(kind, child_name(service, stable))) is not None
    ]
    return [
        front(service, stable),
        run_config(service, artifact, target),
        deployment(service, artifact, target, settings),
        *kept,
    ]


def front(service: ModelService, revision: str) -> Service:
    """The Service that clients talk to; it selects one revision."""
    return Service(
        metadata=ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace, labels=_labels(service)),
        spec=ServiceSpec(
            selector={**_labels(service), REVISION_LABEL: revision},
            ports=[ServicePort(name="http", port=80, target_port="http")],
        ),
    )


def run_config(service: ModelService, artifact: StoredArtifact, revision: str) -> ConfigMap:
    """The run file of one revision."""
    spec = service.spec
    run = ServeRun(
        name=service.metadata.name,
        artifact=ArtifactPlace(uri=artifact.uri, digest=artifact.digest, secret=artifact.secret),
        threads=whole_cores(spec.resources.limits.get("cpu")),
        max_payload_bytes=int(parse_quantity(spec.protocols.max_payload)),
        pre_stop_seconds=spec.drain.pre_stop_seconds,
        grace_seconds=spec.drain.grace_seconds,
    )
    return ConfigMap(metadata=_metadata(service, revision), data={layout.RUN_FILE: run.to_json()})


def deployment(service: ModelService, artifact: StoredArtifact, revision: str, settings: Settings) -> Deployment:
    """The pods of one revision: ready only once the model is verified, loaded and warm."""
    spec = service.spec
    labels = {**_labels(service), REVISION_LABEL: revision}
    template = pod_template(
        component=COMPONENT,
        image=spec.runtime.image or settings.server_image,
        command=["python", "-m", "modelyard_server"],
        labels=labels,
        mounts=[
            config_map_mount(child_name(service, revision), layout.CONFIG),
            *storage_mounts(artifact, read_only=True),
        ],
        env=[EnvVar(name="OMP_NUM_THREADS", value=str(whole_cores(spec.resources.limits.get("cpu"))))],
        resources=container_resources(spec.resources, spec.accelerator),
        options=spec.pod,
        port=layout.SERVER_PORT,
        readiness=Probe(http_get=HttpGet(path="/v2/health/ready", port="http"), period_seconds=1),
        liveness=Probe(http_get=HttpGet(path="/v2/health/live", port="http"), period_seconds=10, timeout_seconds=5),
        restart=True,
        grace_seconds=spec.drain.pre_stop_seconds + spec.drain.grace_seconds + 5,
    )
    return Deployment(
        metadata=_metadata(service, revision),
        spec=DeploymentSpec(replicas=spec.replicas, selector=LabelSelector(match_labels=labels), template=template),
    )


def _metadata(service: ModelService, revision: str) -> ObjectMeta:
    return ObjectMeta(
        name=child_name(service, revision),
        namespace=service.metadata.namespace,
        labels={**_labels(service), REVISION_LABEL: revision},
    )


def _labels(service: ModelService) -> dict[str, str]:
    return labels_of(service.kind, service.metadata.name, COMPONENT)
