"""The run file of one attempt: what its pods are asked for. Pure."""

from modelyard.api.settings import Settings
from modelyard.api.workloads import ConfigMap
from modelyard.contract import layout
from modelyard.contract.artifact import Lineage
from modelyard.contract.runs import (
    ArtifactPlace,
    CheckpointRun,
    InputRun,
    Objective,
    Place,
    RunIdentity,
    TrainRun,
)
from modelyard.kinds.code import git_run
from modelyard.kinds.reporting import certificate_file
from modelyard.kinds.trainingjob.attempts import run_name
from modelyard.kinds.trainingjob.model import TrainingJob
from modelyard.kinds.trainingjob.options import Checkpoint
from modelyard.kinds.trainingjob.pods import grace_seconds, metadata
from modelyard.kinds.trainingjob.status import Resolved


def run_config(job: TrainingJob, attempt: int, resolved: Resolved, settings: Settings) -> ConfigMap:
    """The ConfigMap with the run file, and with what is needed to report progress."""
    data = {layout.RUN_FILE: _run(job, attempt, resolved).to_json(), **certificate_file(settings)}
    return ConfigMap(metadata=metadata(job, run_name(job, attempt), attempt), data=data)


def _run(job: TrainingJob, attempt: int, resolved: Resolved) -> TrainRun:
    spec = job.spec
    objective = spec.progress.objective
    return TrainRun(
        identity=RunIdentity(
            namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid, attempt=attempt
        ),
        script=spec.entrypoint.script,
        module=spec.entrypoint.module,
        args=spec.entrypoint.args,
        git=git_run(job.spec.code),
        inputs=_inputs(job, resolved),
        backend=spec.backend,
        process_restarts=spec.restart.process_restarts,
        stall_timeout_seconds=spec.progress.stall_timeout_seconds,
        grace_seconds=grace_seconds(job),
        objective=Objective(metric=objective.metric, goal=objective.goal) if objective is not None else None,
        checkpoint=_checkpoint(spec.checkpoint) if spec.checkpoint is not None else None,
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


def _inputs(job: TrainingJob, resolved: Resolved) -> list[InputRun]:
    """What the spec names; what the first attempt found is what later ones must find."""
    found = {each.name: each.digest for each in resolved.inputs}
    return [
        InputRun(name=each.name, uri=each.uri, secret=each.secret, digest=each.digest or found.get(each.name))
        for each in job.spec.inputs
    ]


def _checkpoint(spec: Checkpoint) -> CheckpointRun:
    source = spec.from_
    return CheckpointRun(
        uri=spec.uri,
        secret=spec.secret,
        resume="Never" if spec.resume == "Never" else "Auto",
        resume_from=ArtifactPlace(uri=source.uri, digest=source.digest, secret=source.secret) if source else None,
        keep_latest=spec.keep.latest,
        keep_best=spec.keep.best,
    )
