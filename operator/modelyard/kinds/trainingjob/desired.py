"""The children that a TrainingJob should have: code, run file, headless Service, one Indexed Job an attempt. Pure."""

from collections.abc import Sequence

from modelyard.api.children import Children, Sources
from modelyard.api.containers import config_map_mount, container_resources, pod_template, storage_mounts
from modelyard.api.labels import ATTEMPT_LABEL, labels_of
from modelyard.api.metadata import KubeObject, ObjectKey, ObjectMeta
from modelyard.api.pods import EnvVar, EnvVarSource, FieldReference, PodTemplate
from modelyard.api.quantities import whole_cores
from modelyard.api.settings import Settings
from modelyard.api.workloads import ConfigMap, Job, JobSpec, Service, ServiceSpec
from modelyard.contract import layout
from modelyard.contract.artifact import Lineage
from modelyard.contract.digest import Digest, digest_of_json
from modelyard.contract.runs import CheckpointRun, Place, RunIdentity, TrainRun
from modelyard.engine.kind import SourceReference
from modelyard.kinds.claims import claim_references
from modelyard.kinds.trainingjob.model import Resolved, TrainingJob

COMPONENT = "trainer"
RENDEZVOUS_PORT = 29400
JOIN_TIMEOUT_SECONDS = 600
KEPT_ATTEMPTS = 3
"""So many attempts keep their Job, and with it their pods and logs."""


def service_name(job: TrainingJob) -> str:
    """The headless Service's name. Each kind has a suffix of its own, so that equal names of kinds never meet."""
    return f"{job.metadata.name}-train"


def attempt_name(job: TrainingJob, attempt: int) -> str:
    """The name of an attempt's Job."""
    return f"{service_name(job)}-{attempt}"


def code_name(job: TrainingJob) -> str:
    """The name of the job's own copy of its code."""
    return f"{service_name(job)}-code"


def references(job: TrainingJob) -> list[SourceReference]:
    """The ConfigMap and the claims that the job needs."""
    namespace = job.metadata.namespace
    found = []
    if job.spec.code is not None:
        key = ObjectKey("ConfigMap", namespace, job.spec.code.config_map.name)
        copy = ObjectKey("ConfigMap", namespace, code_name(job))
        # A finished job says when its code was edited since.
        found.append(SourceReference("spec.code.configMap", key, copy if job.status.completion_time is None else None))
    uris = {
        "spec.checkpoint.uri": job.spec.checkpoint.uri if job.spec.checkpoint else None,
        "spec.output.uri": job.spec.output.uri if job.spec.output else None,
    }
    return [*found, *claim_references(namespace, uris)]


def missing(job: TrainingJob, sources: Sources) -> SourceReference | None:
    """The first reference that names no existing object."""
    return next((reference for reference in references(job) if reference.key not in sources), None)


def desired(job: TrainingJob, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    """Everything that the current attempt needs; older attempts stay as they are, a finished job gets nothing new."""
    if job.status.completion_time is not None or (not children.objects and missing(job, sources) is not None):
        return children.objects
    attempt = max(1, job.status.attempt)
    code = code_of(job, children) or code_copy(job, sources)
    resolved = job.status.resolved or resolve(job, code, job.spec.image or settings.trainer_image)
    kept = [
        found
        for earlier in range(max(1, attempt - KEPT_ATTEMPTS + 1), attempt)
        for name in (attempt_name(job, earlier), f"{attempt_name(job, earlier)}-run")
        if (found := children.find(Job, name) or children.find(ConfigMap, name)) is not None
    ]
    return [
        *([code] if code is not None else []),
        rendezvous_service(job),
        run_config(job, attempt, resolved),
        attempt_job(job, attempt, resolved),
        *kept,
    ]


def resolve(job: TrainingJob, code: ConfigMap | None, image: str) -> Resolved:
    """What is frozen when the job is first seen; ``code`` is the job's own copy."""
    return Resolved(
        spec_hash=digest_of_json(job.spec.model_dump(mode="json", exclude_none=True)),
        image=image,
        code_digest=None if code is None else _digest(code),
    )


def code_of(job: TrainingJob, children: Children) -> ConfigMap | None:
    """The job's own copy of its code, once it is there; its data as they are, its metadata as they should be."""
    found = children.find(ConfigMap, code_name(job))
    return None if found is None else _copy(job, found.data)


def code_copy(job: TrainingJob, sources: Sources) -> ConfigMap | None:
    """The job's own copy of its code, so that every attempt runs the same bytes."""
    code = _code(job, sources)
    if code is None:
        return None
    return _copy(job, code.data)


def _copy(job: TrainingJob, data: dict[str, str]) -> ConfigMap:
    return ConfigMap(metadata=_metadata(job, code_name(job)), data=data, immutable=True)


def rendezvous_service(job: TrainingJob) -> Service:
    """The headless Service that gives each pod a name before it is ready."""
    return Service(
        metadata=_metadata(job, service_name(job)),
        spec=ServiceSpec(
            cluster_ip="None",
            selector=labels_of(job.kind, job.metadata.name, COMPONENT),
            publish_not_ready_addresses=True,
        ),
    )


def run_config(job: TrainingJob, attempt: int, resolved: Resolved) -> ConfigMap:
    """The run file of one attempt."""
    spec = job.spec
    run = TrainRun(
        identity=RunIdentity(
            namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid, attempt=attempt
        ),
        script=spec.entrypoint.script,
        module=spec.entrypoint.module,
        args=spec.entrypoint.args,
        backend=spec.backend,
        checkpoint=CheckpointRun(
            uri=spec.checkpoint.uri,
            secret=spec.checkpoint.secret,
            resume=spec.checkpoint.resume,
            keep_latest=spec.checkpoint.keep.latest,
        )
        if spec.checkpoint
        else None,
        output=Place(uri=spec.output.uri, secret=spec.output.secret) if spec.output else None,
        lineage=Lineage(
            kind=job.kind,
            name=job.metadata.name,
            namespace=job.metadata.namespace,
            spec_digest=resolved.spec_hash,
            code_digest=resolved.code_digest,
            image=resolved.image,
        ),
    )
    return ConfigMap(
        metadata=_metadata(job, f"{attempt_name(job, attempt)}-run", attempt), data={layout.RUN_FILE: run.to_json()}
    )


def attempt_job(job: TrainingJob, attempt: int, resolved: Resolved) -> Job:
    """One Indexed Job for one attempt: the first lost pod fails it, and nothing replaces a pod within it."""
    name = attempt_name(job, attempt)
    return Job(
        metadata=_metadata(job, name, attempt),
        spec=JobSpec(
            parallelism=job.spec.nodes,
            completions=job.spec.nodes,
            completion_mode="Indexed",
            backoff_limit=0,
            pod_replacement_policy="Failed",
            template=_pods(job, name, attempt, resolved),
        ),
    )


def _pods(job: TrainingJob, name: str, attempt: int, resolved: Resolved) -> PodTemplate:
    spec = job.spec
    mounts = [config_map_mount(f"{name}-run", layout.CONFIG)]
    if spec.code is not None:
        mounts.append(config_map_mount(code_name(job), layout.CODE))
    mounts.extend(storage_mounts(spec.checkpoint, spec.output))
    return pod_template(
        component=COMPONENT,
        image=resolved.image,
        command=["python", "-m", "modelyard_trainer.launch"],
        labels=_labels(job, attempt),
        mounts=mounts,
        env=[
            *rendezvous(job, name, attempt),
            *(EnvVar(name=variable.name, value=variable.value) for variable in spec.env),
        ],
        resources=container_resources(spec.resources, spec.accelerator),
        options=spec.pod,
        subdomain=service_name(job),
    )


def rendezvous(job: TrainingJob, job_name: str, attempt: int) -> list[EnvVar]:
    """Torchrun's settings: c10d at pod 0, an id of its own for each attempt (torch/distributed/run.py, PET_*)."""
    domain = f"{service_name(job)}.{job.metadata.namespace}.svc"
    index = EnvVarSource(
        field_ref=FieldReference(field_path="metadata.annotations['batch.kubernetes.io/job-completion-index']")
    )
    threads = whole_cores(job.spec.resources.limits.get("cpu")) // job.spec.ranks_per_node
    values = {
        "PET_NNODES": str(job.spec.nodes),
        "PET_NPROC_PER_NODE": str(job.spec.ranks_per_node),
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{job_name}-0.{domain}:{RENDEZVOUS_PORT}",
        "PET_RDZV_ID": f"{job.metadata.uid}-{attempt}",
        "PET_RDZV_CONF": f"join_timeout={JOIN_TIMEOUT_SECONDS}",
        "OMP_NUM_THREADS": str(max(1, threads)),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return [
        EnvVar(name="PET_NODE_RANK", value_from=index),
        EnvVar(name="PET_LOCAL_ADDR", value=f"{job_name}-$(PET_NODE_RANK).{domain}"),
        *(EnvVar(name=name, value=value) for name, value in values.items()),
    ]


def _metadata(job: TrainingJob, name: str, attempt: int | None = None) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=job.metadata.namespace, labels=_labels(job, attempt))


def _labels(job: TrainingJob, attempt: int | None) -> dict[str, str]:
    labels = labels_of(job.kind, job.metadata.name, COMPONENT)
    return labels if attempt is None else {**labels, ATTEMPT_LABEL: str(attempt)}


def _code(job: TrainingJob, sources: Sources) -> ConfigMap | None:
    if job.spec.code is None:
        return None
    found = sources.get(ObjectKey("ConfigMap", job.metadata.namespace, job.spec.code.config_map.name))
    return None if found is None else ConfigMap.model_validate(found)


def _digest(code: ConfigMap) -> Digest:
    return digest_of_json(dict(code.data))


def code_changed(job: TrainingJob, sources: Sources) -> bool:
    """Whether the ConfigMap holds other code than the job started with."""
    code = _code(job, sources)
    return code is not None and job.status.resolved is not None and _digest(code) != job.status.resolved.code_digest
