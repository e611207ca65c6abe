"""The children that tune a model before it is quantized: code, run file, headless Service, one Indexed Job. Pure."""

from modelyard.api.children import Children, Sources
from modelyard.api.containers import (
    config_map_mount,
    container_resources,
    pod_template,
    scratch_mount,
    storage_mounts,
)
from modelyard.api.labels import labels_of
from modelyard.api.metadata import KubeObject, ObjectMeta
from modelyard.api.quantities import whole_cores
from modelyard.api.references import StoredArtifact
from modelyard.api.settings import Settings
from modelyard.api.workloads import (
    ConfigMap,
    Job,
    JobSpec,
    OnExitCodes,
    OnPodCondition,
    PodFailurePolicy,
    PodFailureRule,
    Service,
    ServiceSpec,
)
from modelyard.contract import layout
from modelyard.contract.artifact import Lineage, artifact_uri
from modelyard.contract.digest import digest_of_json
from modelyard.contract.reports import EXIT_FINAL, Termination
from modelyard.contract.runs import (
    TRAINING_INPUT,
    ArtifactPlace,
    DistilRun,
    FinetuneRun,
    InputRun,
    Place,
    PruneRun,
    RunIdentity,
    TrainRun,
    TuneRun,
)
from modelyard.kinds.code import code_copy, code_digest, code_source, git_run, git_secrets
from modelyard.kinds.compressionjob.model import CompressionJob, Tuning
from modelyard.kinds.compressionjob.recipe import Finetuned, variants_of
from modelyard.kinds.compressionjob.status import TunedArtifact
from modelyard.kinds.rendezvous import rendezvous_variables
from modelyard.kinds.reporting import certificate_file, own_path, token_mounts, trainer_address

COMPONENT = "tuner"
_DEFAULT = Tuning()


def tuner_name(job: CompressionJob) -> str:
    """The name of the Job, of its pods and of the Service that gives them names."""
    return f"{job.metadata.name}-tune"


def code_name(job: CompressionJob) -> str:
    """The name of the job's own copy of its code."""
    return f"{tuner_name(job)}-code"


def tuning_children(
    job: CompressionJob, source: StoredArtifact, sources: Sources, children: Children, settings: Settings
) -> list[KubeObject]:
    """All that tunes ``source``; it stays as long as the job does, for its logs."""
    code = _code(job, sources, children)
    return [
        *([code] if code is not None else []),
        Service(
            metadata=_metadata(job, tuner_name(job)),
            spec=ServiceSpec(
                cluster_ip="None",
                selector=labels_of(job.kind, job.metadata.name, COMPONENT),
                publish_not_ready_addresses=True,
            ),
        ),
        _run_config(job, source, code, settings),
        _job(job, source, settings),
    ]


def tuned(job: CompressionJob, said: Termination) -> list[TunedArtifact]:
    """What the pods published, where the output says that it lies."""
    place = _output(job)
    return [
        TunedArtifact(
            name=each.name,
            uri=artifact_uri(place.uri, each.digest),
            digest=each.digest,
            secret_ref=job.spec.output.secret_ref,
        )
        for each in said.tuned or []
    ]


def _output(job: CompressionJob) -> Place:
    return Place(uri=f"{job.spec.output.uri}/tuned", secret=job.spec.output.secret)


def _code(job: CompressionJob, sources: Sources, children: Children) -> ConfigMap | None:
    """The job's own copy as it is there, or a new one."""
    found = children.find(ConfigMap, code_name(job)) or code_source(job.spec.code, job.metadata.namespace, sources)
    return None if found is None else code_copy(_metadata(job, code_name(job)), found.data)


def _run_config(job: CompressionJob, source: StoredArtifact, code: ConfigMap | None, settings: Settings) -> ConfigMap:
    spec = job.spec
    training, entrypoint = spec.data.training, spec.entrypoint
    assert training is not None, "a rule of the spec"
    assert entrypoint is not None, "a rule of the spec"
    tune = TuneRun(
        script=entrypoint.script,
        model=entrypoint.model,
        source=ArtifactPlace(uri=source.uri, digest=source.digest, secret=source.secret),
        variants=variants_of(spec.prune, spec.low_rank),
        prune=_prune(job),
        low_rank=_finetune(spec.low_rank) if spec.low_rank is not None else None,
        distil=_distil(job),
        seed=spec.data.calibration.seed,
    )
    run = TrainRun(
        identity=RunIdentity(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        module="modelyard_trainer.tuning",
        git=git_run(spec.code),
        inputs=[
            InputRun(name=TRAINING_INPUT, uri=training.uri, secret=training.secret, digest=training.digest),
        ],
        output=_output(job),
        tune=tune,
        lineage=Lineage(
            kind=job.kind,
            name=job.metadata.name,
            namespace=job.metadata.namespace,
            spec_digest=digest_of_json(spec.model_dump(mode="json", exclude_none=True, exclude={"suspend"})),
            code_digest=code_digest(spec.code, code),
            image=_image(job, settings),
            parent=source.digest,
        ),
    )
    data = {layout.RUN_FILE: run.to_json(), **certificate_file(settings)}
    return ConfigMap(metadata=_metadata(job, f"{tuner_name(job)}-run"), data=data)


def _prune(job: CompressionJob) -> PruneRun | None:
    step = job.spec.prune
    if step is None:
        return None
    # The rule of the spec leaves these two.
    method = "Taylor" if step.method == "Taylor" else "Magnitude"
    return PruneRun(
        epochs=step.finetune_epochs, learning_rate=float(step.learning_rate), method=method, round_to=step.round_to
    )


def _finetune(step: Finetuned) -> FinetuneRun:
    return FinetuneRun(epochs=step.finetune_epochs, learning_rate=float(step.learning_rate))


def _distil(job: CompressionJob) -> DistilRun | None:
    step = job.spec.distil
    if step is None:
        return None
    return DistilRun(temperature=float(step.temperature), alpha=float(step.alpha), features=float(step.features))


def _job(job: CompressionJob, source: StoredArtifact, settings: Settings) -> Job:
    """Each pod is tried again for itself, as the compressor's is; those that lost a peer end too, and all meet anew."""
    spec, tuning = job.spec, job.spec.tuning or _DEFAULT
    mounts = [config_map_mount(f"{tuner_name(job)}-run", layout.CONFIG)]
    if spec.code is not None and spec.code.config_map is not None:
        mounts.append(config_map_mount(code_name(job), layout.CODE))
    mounts.extend(storage_mounts(source, spec.data.training, spec.output, secrets=git_secrets(spec.code)))
    mounts.append(scratch_mount(layout.INPUTS))
    mounts.extend(token_mounts(settings))
    template = pod_template(
        component=COMPONENT,
        image=_image(job, settings),
        command=["python", "-m", "modelyard_trainer.launch"],
        labels=labels_of(job.kind, job.metadata.name, COMPONENT),
        mounts=mounts,
        env=[
            *rendezvous_variables(
                pods=tuner_name(job),
                domain=f"{tuner_name(job)}.{job.metadata.namespace}.svc",
                identity=job.metadata.uid,
                nodes=str(tuning.nodes),
                ranks_per_node=tuning.ranks_per_node,
                cores=whole_cores(tuning.resources.limits.get("cpu")),
            ),
            *trainer_address(settings, own_path(job)),
        ],
        resources=container_resources(tuning.resources, tuning.accelerator),
        options=spec.pod,
        subdomain=tuner_name(job),
    )
    final = PodFailureRule(action="FailJob", on_exit_codes=OnExitCodes(operator="In", values=[EXIT_FINAL]))
    disrupted = PodFailureRule(action="Ignore", on_pod_conditions=[OnPodCondition(type="DisruptionTarget")])
    return Job(
        metadata=_metadata(job, tuner_name(job)),
        spec=JobSpec(
            parallelism=tuning.nodes,
            completions=tuning.nodes,
            completion_mode="Indexed",
            backoff_limit_per_index=spec.backoff_limit,
            pod_failure_policy=PodFailurePolicy(rules=[final, disrupted]),
            template=template,
        ),
    )


def _image(job: CompressionJob, settings: Settings) -> str:
    return job.spec.trainer_image or settings.trainer_image


def _metadata(job: CompressionJob, name: str) -> ObjectMeta:
    labels = labels_of(job.kind, job.metadata.name, COMPONENT)
    return ObjectMeta(name=name, namespace=job.metadata.namespace, labels=labels)
