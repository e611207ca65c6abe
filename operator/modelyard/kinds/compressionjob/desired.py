"""The children that a CompressionJob should have: a run file and one Job, and what tunes before. Pure."""

from collections.abc import Sequence

from modelyard.api.children import Children, Sources
from modelyard.api.containers import config_map_mount, container_resources, pod_template, storage_mounts
from modelyard.api.labels import labels_of
from modelyard.api.metadata import KubeObject, ObjectKey, ObjectMeta
from modelyard.api.pods import EnvVar
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
)
from modelyard.contract import layout
from modelyard.contract.artifact import Lineage
from modelyard.contract.digest import digest_of_json, short
from modelyard.contract.reports import EXIT_FINAL
from modelyard.contract.runs import (
    ArtifactPlace,
    CompressRun,
    DataRun,
    GatesRun,
    MetricRun,
    Place,
    QuantizeRun,
    RunIdentity,
    SearchRun,
    StartRun,
)
from modelyard.engine.kind import SourceReference
from modelyard.kinds.claims import claim_references
from modelyard.kinds.code import code_reference
from modelyard.kinds.compressionjob.model import CalibrationSet, CompressionJob, DataSet
from modelyard.kinds.compressionjob.parallel import spread
from modelyard.kinds.compressionjob.suspension import held, kept
from modelyard.kinds.compressionjob.tuning import code_name, tuning_children
from modelyard.kinds.handoff import Handoff, given, handoff
from modelyard.kinds.reporting import address, certificate_file, token_mounts

COMPONENT = "compressor"


def child_name(job: CompressionJob) -> str:
    """The name of the Job. Each kind has a suffix of its own, so that equal names of different kinds never meet."""
    return f"{job.metadata.name}-compress"


def references(job: CompressionJob) -> list[SourceReference]:
    """The source job and the claims that the job needs; once it is finished, the source job alone."""
    namespace = job.metadata.namespace
    found = []
    if job.spec.source.training_job is not None:
        key = ObjectKey("TrainingJob", namespace, job.spec.source.training_job.name)
        found.append(SourceReference("spec.source.trainingJob", key))
    if job.status.completion_time is not None:
        return found
    found += code_reference(job.spec.code, namespace, code_name(job))
    uris = {
        "spec.source.artifact.uri": job.spec.source.artifact.uri if job.spec.source.artifact else None,
        "spec.data.calibration.uri": job.spec.data.calibration.uri,
        "spec.data.evaluation.uri": job.spec.data.evaluation.uri if job.spec.data.evaluation else None,
        "spec.data.training.uri": job.spec.data.training.uri if job.spec.data.training else None,
        "spec.output.uri": job.spec.output.uri,
    }
    return [*found, *claim_references(namespace, uris)]


def source_of(job: CompressionJob, sources: Sources) -> Handoff:
    """The artefact to compress: pinned once it was seen, whatever becomes of the source job."""
    pinned = job.status.source or job.spec.source.artifact
    return given(pinned) if pinned is not None else handoff(references(job)[0], sources)


def missing(job: CompressionJob, sources: Sources) -> SourceReference | None:
    """The first claim or ConfigMap that does not exist; the source job is told of by ``source_of``."""
    return next((each for each in references(job) if each.key.kind != "TrainingJob" and each.key not in sources), None)


def desired(job: CompressionJob, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    """The run file and the Job, once there is something to compress; a suspended or finished job gets nothing new.

    What tunes the model comes first, where the recipe asks for it.
    """
    artifact = source_of(job, sources).artifact
    if job.status.completion_time is not None or artifact is None:
        return children.objects
    if held(job, children):
        return kept(children)
    if not children.objects and missing(job, sources) is not None:
        return ()
    tuning = tuning_children(job, artifact, sources, children, settings) if job.spec.tunes else []
    if job.spec.tunes and not job.status.tuned:
        return tuning
    # What tuned stays for its logs; once its models are pinned, nothing of it is made again.
    tuning = [child for child in tuning if children.find(type(child), child.metadata.name) is not None]
    return [*tuning, run_config(job, artifact, settings), compression_job(job, artifact, settings)]


def run_config(job: CompressionJob, source: StoredArtifact, settings: Settings) -> ConfigMap:
    """The run file."""
    spec = job.spec
    calibration = spec.data.calibration
    spec_digest = digest_of_json(spec.model_dump(mode="json", exclude_none=True, exclude={"suspend"}))
    run = CompressRun(
        identity=RunIdentity(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        source=ArtifactPlace(uri=source.uri, digest=source.digest, secret=source.secret),
        starts=[
            StartRun(name=each.name, uri=each.uri, digest=each.digest, secret=each.secret) for each in job.status.tuned
        ]
        or None,
        calibration=_data(calibration),
        evaluation=_data(spec.data.evaluation),
        calibration_samples=calibration.samples,
        seed=calibration.seed,
        metric=MetricRun(
            name=spec.metric.name,
            entrypoint=spec.metric.entrypoint,
            higher_is_better=spec.metric.higher_is_better is not False,
        ),
        optimise=any(step.optimise is not None for step in spec.recipe),
        quantize=QuantizeRun(
            mode=spec.quantize.mode,
            per_channel=spec.quantize.per_channel,
            range_repair=spec.quantize.range_repair,
            reduce_range=spec.quantize.reduce_range,
            calibration_method=spec.quantize.calibration_method,
            accuracy_fallback_nodes=spec.quantize.accuracy_fallback_nodes,
        ),
        search=SearchRun(
            max_trials=spec.search.max_trials,
            max_duration_seconds=spec.search.max_duration_seconds,
            parallelism=spec.search.parallelism,
        ),
        batch_sizes=spec.target.batch_sizes,
        threads=whole_cores(spec.target.resources.limits.get("cpu")),
        gates=GatesRun(
            max_accuracy_drop=_number(spec.gates.max_accuracy_drop),
            max_latency_p99_milliseconds=spec.gates.max_latency_p99_milliseconds,
            min_speedup=_number(spec.gates.min_speedup),
            max_size_bytes=spec.gates.max_size_bytes,
            accuracy_drop_by=spec.gates.accuracy_drop_by,
            min_int8_mac_share=_number(spec.gates.min_int8_mac_share),
            on_failure=spec.gates.on_failure,
        ),
        output=Place(uri=spec.output.uri, secret=spec.output.secret),
        report_name=f"report-{short(digest_of_json([job.metadata.uid, source.digest]))}",
        lineage=Lineage(
            kind=job.kind,
            name=job.metadata.name,
            namespace=job.metadata.namespace,
            spec_digest=spec_digest,
            image=spec.image or settings.compressor_image,
            parent=source.digest,
        ),
    )
    data = {layout.RUN_FILE: run.to_json(), **certificate_file(settings)}
    return ConfigMap(metadata=_metadata(job, f"{child_name(job)}-run"), data=data)


def compression_job(job: CompressionJob, source: StoredArtifact, settings: Settings) -> Job:
    """One Job on nodes that are like those that will serve; with one pod, or as many as search.parallelism says."""
    spec = job.spec
    places = [source, spec.data.calibration, spec.data.evaluation, spec.output]
    template = pod_template(
        component=COMPONENT,
        image=spec.image or settings.compressor_image,
        command=["python", "-m", "modelyard_compressor"],
        labels=labels_of(job.kind, job.metadata.name, COMPONENT),
        mounts=[
            config_map_mount(f"{child_name(job)}-run", layout.CONFIG),
            *storage_mounts(*places),
            *token_mounts(settings),
        ],
        env=[
            EnvVar(name="OMP_NUM_THREADS", value=str(whole_cores(spec.target.resources.limits.get("cpu")))),
            *address(settings, job),
        ],
        resources=container_resources(spec.target.resources, None),
        options=spec.pod.model_copy(update={"node_selector": {**spec.pod.node_selector, **spec.target.node_selector}}),
    )
    final = PodFailureRule(action="FailJob", on_exit_codes=OnExitCodes(operator="In", values=[EXIT_FINAL]))
    disrupted = PodFailureRule(action="Ignore", on_pod_conditions=[OnPodCondition(type="DisruptionTarget")])
    return Job(
        metadata=_metadata(job, child_name(job)),
        spec=spread(
            JobSpec(
                backoff_limit=spec.backoff_limit,
                pod_failure_policy=PodFailurePolicy(rules=[final, disrupted]),
                template=template,
            ),
            spec.search.parallelism,
        ),
    )


def _metadata(job: CompressionJob, name: str) -> ObjectMeta:
    labels = labels_of(job.kind, job.metadata.name, COMPONENT)
    return ObjectMeta(name=name, namespace=job.metadata.namespace, labels=labels)


def _data(data: DataSet | CalibrationSet | None) -> DataRun | None:
    if data is None or data.uri is None:
        return None
    return DataRun(uri=data.uri, digest=data.digest, secret=data.secret)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
