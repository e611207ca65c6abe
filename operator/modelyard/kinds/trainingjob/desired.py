"""The children that a TrainingJob should have: code, run file, headless Service, one Indexed Job an attempt. Pure."""

from collections.abc import Sequence

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.labels import labels_of
from modelyard.api.metadata import KubeObject
from modelyard.api.settings import Settings
from modelyard.api.workloads import ConfigMap, Job, Service, ServiceSpec
from modelyard.contract.digest import digest_of_json
from modelyard.engine.kind import SourceReference
from modelyard.kinds.claims import claim_references
from modelyard.kinds.code import code_copy, code_digest, code_reference, code_source
from modelyard.kinds.trainingjob.attempts import (
    attempt_name,
    code_name,
    current_attempt,
    ended,
    job_of,
    run_name,
    service_name,
    stopping,
)
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.pods import COMPONENT, attempt_job, gang, metadata
from modelyard.kinds.trainingjob.run_files import run_config
from modelyard.kinds.trainingjob.status import Resolved

KEPT_ATTEMPTS = 3
"""So many attempts keep their Job, and with it their pods and logs."""


def references(job: TrainingJob) -> list[SourceReference]:
    """The ConfigMap and the claims that the job needs; once it is finished, the ConfigMap alone."""
    namespace = job.metadata.namespace
    # A finished job says when its code was edited since.
    copy = code_name(job) if job.status.completion_time is None else None
    found = code_reference(job.spec.code, namespace, copy)
    if job.status.completion_time is not None:
        return found
    checkpoint = job.spec.checkpoint
    uris = {
        "spec.checkpoint.uri": checkpoint.uri if checkpoint else None,
        "spec.checkpoint.from.uri": checkpoint.from_.uri if checkpoint and checkpoint.from_ else None,
        "spec.output.uri": job.spec.output.uri if job.spec.output else None,
        **{f"spec.inputs[{each.name}].uri": each.uri for each in job.spec.inputs},
    }
    return [*found, *claim_references(namespace, uris)]


def missing(job: TrainingJob, sources: Sources) -> SourceReference | None:
    """The first reference that names no existing object."""
    return next((reference for reference in references(job) if reference.key not in sources), None)


def desired(job: TrainingJob, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    """Everything that the current attempt needs; older attempts stay as they are, a finished job gets nothing new."""
    if job.status.completion_time is not None:
        return _after_the_end(job, children)
    if not children.objects and (missing(job, sources) is not None):
        return children.objects
    attempt = current_attempt(job)
    code = code_of(job, children) or _code_copy(job, sources)
    resolved = job.status.resolved or resolve(job, code, job.spec.image or settings.trainer_image)
    current: list[KubeObject] = []
    if not stopping(job) or ended(job_of(job, children, attempt)):
        group = gang(job, attempt, settings)
        current = [
            *([group] if group is not None else []),
            run_config(job, attempt, resolved, settings),
            attempt_job(job, attempt, resolved.image, settings),
        ]
    return [
        *([code] if code is not None else []),
        rendezvous_service(job),
        *current,
        *_kept(job, children, attempt),
    ]


def _kept(job: TrainingJob, children: Children, attempt: int) -> list[Job | ConfigMap]:
    return [
        found
        for earlier in range(max(1, attempt - KEPT_ATTEMPTS + 1), attempt)
        for found in (job_of(job, children, earlier), children.find(ConfigMap, run_name(job, earlier)))
        if found is not None
    ]


def _after_the_end(job: TrainingJob, children: Children) -> Sequence[KubeObject]:
    """What stays once the job ended: all, or what spec.cleanup leaves. Pods that still run are ended."""
    cleanup = job.spec.cleanup.pods
    succeeded = conditions.is_true(job.status.conditions, conditions.COMPLETE)
    if job.status.cleaned_up:
        return ()
    if cleanup == "Always" or (cleanup == "OnSuccess" and succeeded):
        return [each for each in children.objects if not isinstance(each, Job)]
    current = attempt_name(job, job.status.attempt)
    return [
        each for each in children.objects if not isinstance(each, Job) or each.metadata.name != current or ended(each)
    ]


def resolve(job: TrainingJob, code: ConfigMap | None, image: str) -> Resolved:
    """What is frozen when the job is first seen; ``code`` is the job's own copy."""
    return Resolved(
        spec_hash=digest_of_json(job.spec.model_dump(mode="json", exclude_none=True)),
        image=image,
        code_digest=code_digest(job.spec.code, code),
    )


def code_of(job: TrainingJob, children: Children) -> ConfigMap | None:
    """The job's own copy of its code, once it is there; its data as they are, its metadata as they should be."""
    found = children.find(ConfigMap, code_name(job))
    return None if found is None else _copy(job, found.data)


def _code_copy(job: TrainingJob, sources: Sources) -> ConfigMap | None:
    code = code_source(job.spec.code, job.metadata.namespace, sources)
    return None if code is None else _copy(job, code.data)


def rendezvous_service(job: TrainingJob) -> Service:
    """The headless Service that gives each pod a name before it is ready."""
    return Service(
        metadata=metadata(job, service_name(job)),
        spec=ServiceSpec(
            cluster_ip="None",
            selector=labels_of(job.kind, job.metadata.name, COMPONENT),
            publish_not_ready_addresses=True,
        ),
    )


def code_changed(job: TrainingJob, sources: Sources) -> bool:
    """Whether the ConfigMap holds other code than the job started with."""
    code = code_source(job.spec.code, job.metadata.namespace, sources)
    resolved = job.status.resolved
    return code is not None and resolved is not None and code_digest(job.spec.code, code) != resolved.code_digest


def _copy(job: TrainingJob, data: dict[str, str]) -> ConfigMap:
    return code_copy(metadata(job, code_name(job)), data)
