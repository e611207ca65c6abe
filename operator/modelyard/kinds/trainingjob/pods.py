"""The Job of one attempt, and the environment of its pods. Pure."""

from modelyard.api.containers import (
    away_from,
    config_map_mount,
    container_resources,
    pod_template,
    scratch_mount,
    storage_mounts,
)
from modelyard.api.labels import ATTEMPT_LABEL, labels_of
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import EnvVar, PodTemplate
from modelyard.api.quantities import whole_cores
from modelyard.api.settings import PROGRESS_PATH, Settings
from modelyard.api.workloads import (
    GangPolicy,
    GroupPolicy,
    Job,
    JobSpec,
    OnExitCodes,
    PodFailurePolicy,
    PodFailureRule,
    PodGroup,
    PodGroupSpec,
    SuccessPolicy,
    SuccessRule,
)
from modelyard.contract import layout
from modelyard.contract.reports import EXIT_FINAL
from modelyard.kinds.code import git_secrets
from modelyard.kinds.rendezvous import rendezvous_variables
from modelyard.kinds.reporting import token_mounts, trainer_address
from modelyard.kinds.trainingjob.attempts import attempt_name, code_name, run_name, service_name
from modelyard.kinds.trainingjob.model import TrainingJob

COMPONENT = "trainer"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's webhook suspends a Job with this label until the queue admits it, and from then on owns spec.suspend."""
MARGIN_SECONDS = 15
"""For ending ranks and writing how it ended, after the time for a last checkpoint."""
DEFAULT_GRACE_SECONDS = 15


def metadata(job: TrainingJob, name: str, attempt: int | None = None) -> ObjectMeta:
    """The metadata of a child, with the attempt that it belongs to."""
    return ObjectMeta(name=name, namespace=job.metadata.namespace, labels=labels(job, attempt))


def labels(job: TrainingJob, attempt: int | None) -> dict[str, str]:
    """The labels of a child, and of the pods of an attempt."""
    found = labels_of(job.kind, job.metadata.name, COMPONENT)
    return found if attempt is None else {**found, ATTEMPT_LABEL: str(attempt)}


def grace_seconds(job: TrainingJob) -> int:
    """Seconds for a last checkpoint once a pod is told to end."""
    return job.spec.checkpoint.grace_seconds if job.spec.checkpoint is not None else DEFAULT_GRACE_SECONDS


def attempt_job(job: TrainingJob, attempt: int, image: str, settings: Settings) -> Job:
    """One Indexed Job for one attempt: the first lost pod fails it, and nothing replaces a pod within it.

    An elastic one goes on without a pod, which the Job controller replaces; it is complete when pod 0 is.
    """
    spec = job.spec
    made = JobSpec(
        parallelism=spec.nodes,
        completions=spec.nodes,
        completion_mode="Indexed",
        backoff_limit=0 if spec.elastic is None else None,
        backoff_limit_per_index=None if spec.elastic is None else max(1, spec.restart.max_restarts),
        success_policy=None if spec.elastic is None else SuccessPolicy(rules=[SuccessRule(succeeded_indexes="0")]),
        pod_failure_policy=None
        if spec.elastic is None
        else PodFailurePolicy(
            rules=[
                PodFailureRule(action="FailJob", on_exit_codes=OnExitCodes(operator="In", values=[EXIT_FINAL])),
            ]
        ),
        pod_replacement_policy="Failed",
        template=_pods(job, attempt, image, settings),
    )
    about = metadata(job, attempt_name(job, attempt), attempt)
    if spec.scheduling.queue is not None:
        about = about.model_copy(update={"labels": {**about.labels, QUEUE_LABEL: spec.scheduling.queue}})
    return Job(metadata=about, spec=made)


def gang(job: TrainingJob, attempt: int, settings: Settings) -> PodGroup | None:
    """The group by which the scheduler places all pods of the attempt, or the least of an elastic one, or none."""
    spec = job.spec
    least = spec.nodes if spec.elastic is None else spec.elastic.min_nodes
    if not settings.pod_groups or spec.scheduling.gang == "Never" or least == 1:
        return None
    policy = GroupPolicy(gang=GangPolicy(min_count=least))
    about = metadata(job, attempt_name(job, attempt), attempt)
    return PodGroup(metadata=about, spec=PodGroupSpec(scheduling_policy=policy))


def _pods(job: TrainingJob, attempt: int, image: str, settings: Settings) -> PodTemplate:
    spec = job.spec
    mounts = [config_map_mount(run_name(job, attempt), layout.CONFIG)]
    if spec.code is not None and spec.code.config_map is not None:
        mounts.append(config_map_mount(code_name(job), layout.CODE))
    source = spec.checkpoint.from_ if spec.checkpoint is not None else None
    mounts.extend(storage_mounts(spec.checkpoint, source, spec.output, *spec.inputs, secrets=git_secrets(spec.code)))
    if spec.inputs:
        mounts.append(scratch_mount(layout.INPUTS))
    mounts.extend(token_mounts(settings))
    return pod_template(
        component=COMPONENT,
        image=image,
        command=["python", "-m", "modelyard_trainer.launch"],
        labels=labels(job, attempt),
        mounts=mounts,
        env=[
            *rendezvous(job, attempt),
            *trainer_address(settings, PROGRESS_PATH.format(namespace=job.metadata.namespace, name=job.metadata.name)),
            *(EnvVar(name=variable.name, value=variable.value) for variable in spec.env),
        ],
        resources=container_resources(spec.resources, spec.accelerator),
        options=spec.pod,
        subdomain=service_name(job),
        grace_seconds=grace_seconds(job) + MARGIN_SECONDS,
        affinity=away_from(job.status.excluded_nodes),
        priority_class=spec.scheduling.priority_class_name,
        group=attempt_name(job, attempt) if gang(job, attempt, settings) is not None else None,
    )


def rendezvous(job: TrainingJob, attempt: int) -> list[EnvVar]:
    """The settings of one attempt."""
    elastic = job.spec.elastic
    return rendezvous_variables(
        pods=attempt_name(job, attempt),
        domain=f"{service_name(job)}.{job.metadata.namespace}.svc",
        identity=f"{job.metadata.uid}-{attempt}",
        nodes=str(job.spec.nodes) if elastic is None else f"{elastic.min_nodes}:{elastic.max_nodes}",
        ranks_per_node=job.spec.ranks_per_node,
        cores=whole_cores(job.spec.resources.limits.get("cpu")),
        join_window_seconds=None if elastic is None else elastic.join_window_seconds,
    )
