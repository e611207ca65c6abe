"""TrainingJob: what is reported back."""

from typing import Annotated

from pydantic import Field

from modelyard.api.base import Observed
from modelyard.api.quantities import DecimalString
from modelyard.api.references import LocalReference
from modelyard.api.resource import Status
from modelyard.contract.reports import CheckpointReport, InPlace, InputReport, PublishedArtifact


class LastRestart(Observed):
    """The newest restart."""

    attempt: int
    """The attempt that failed."""
    reason: str
    """ProcessError, PodLost, OOMKilled and so on."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """The first failing rank and its error."""
    rank: int | None = None
    """The first failing global rank, where it is known."""
    failed_at: str
    """When the attempt failed."""
    node: str | None = None
    """The node of the pod that failed first."""
    step: int = 0
    """The step that the attempt had reached."""
    checkpoint_step: int | None = None
    """The step that the next attempt starts from; absent: from the beginning."""
    lost_steps: int = 0
    """Steps that have to be made again."""
    recovery_seconds: int | None = None
    """Seconds from the failure until the steps advanced past where they were; absent while they have not."""


class Restarts(Observed):
    """How often the gang was started again."""

    counted: int = 0
    """Restarts that count against restart.maxRestarts."""
    uncounted: int = 0
    """Restarts that do not, such as after a preemption."""
    in_place: int = 0
    """Restarts of ranks within the current attempt, with every pod left in place; see restart.processRestarts."""
    last_in_place: InPlace | None = None
    """The newest of those, and how often in this attempt."""
    last: LastRestart | None = None
    """The newest restart of the gang."""


class Nodes(Observed):
    """The pods of the current attempt."""

    desired: int
    """Pods asked for."""
    ready: int
    """Pods that run."""
    world_size: int
    """Ranks in all."""


class Metric(Observed):
    """One metric that the script reported."""

    name: str
    """Its name."""
    value: DecimalString
    """Its value, as a decimal string."""


class Progress(Observed):
    """How far the training is, as rank 0 reported it."""

    stage: str
    """What it does now."""
    step: int
    """The current step."""
    total_steps: int | None = None
    """The steps in all, where the script said so."""
    percent: int | None = None
    """The share of steps done."""
    eta_seconds: int | None = None
    """Seconds until the last step at the pace so far."""
    metrics: Annotated[list[Metric], Field(max_length=32)] = []
    """The newest metrics."""
    best: DecimalString | None = None
    """The best value of progress.objective so far."""
    resumed_step: int | None = None
    """The step of the checkpoint that the current attempt went on from; 0: from the beginning."""
    last_heartbeat: str
    """When rank 0 last reported."""


class Resolved(Observed):
    """What was frozen when the job was first seen."""

    spec_hash: str
    """Digest of the spec, defaults included."""
    image: str
    """The image that runs."""
    code_digest: str | None = None
    """Digest of the code, or of the git commit's name."""
    inputs: Annotated[list[InputReport], Field(max_length=32)] = []
    """The inputs as they were fetched first."""


class ArtifactStatus(PublishedArtifact):
    """The published artefact."""

    format: str = "Onnx"
    """The model's format."""
    secret_ref: LocalReference | None = None
    """The Secret with the keys to where it lies, from output.secretRef; what follows uses it too."""


class Cost(Observed):
    """What the ended attempts used; the current one is added when it ends."""

    active_seconds: int = 0
    """Time in which all pods ran, as activeDeadlineSeconds counts it."""
    node_seconds: int = 0
    """Time of all pods together."""
    cpu_seconds: int = 0
    """The same times the CPUs that each pod asked for."""
    gpu_seconds: int = 0
    """The same times the accelerators of each pod."""
    productive_seconds: int = 0
    """Pod time spent on steps that were kept: without starts, and without steps that were made again."""
    productive_ratio: DecimalString | None = None
    """The productive share of the pod time, from 0 to 1."""


class Failure(Observed):
    """What went wrong in the current attempt, as first seen."""

    reason: str
    """ProcessError, PodLost, OOMKilled and so on."""
    message: Annotated[str, Field(max_length=4096)]
    """For a person."""
    rank: int | None = None
    """The first failing global rank, where it is known."""
    exit_code: int | None = None
    """That rank's exit code, where it is known."""
    node: str | None = None
    """The node of the pod that failed first."""
    time: str
    """When that was seen."""


class Halt(Observed):
    """Why the pods of the current attempt are being ended before they end by themselves."""

    reason: str
    """Suspended, DeadlineExceeded, StartDeadlineExceeded, or the cause of a restart."""
    message: str
    """For a person."""
    final: bool = False
    """Whether the job fails then; else another attempt may follow."""
    time: str
    """When that was decided."""


class TrainingJobStatus(Status):
    """How a training goes, and what came of it."""

    attempt: int = 0
    """The current attempt, from 1; it rises with each restart."""
    restarts: Restarts = Restarts()
    """Restarts so far."""
    nodes: Nodes | None = None
    """The pods of the current attempt."""
    progress: Progress | None = None
    """How far it is."""
    checkpoint: CheckpointReport | None = None
    """The newest committed checkpoint."""
    resolved: Resolved | None = None
    """What was frozen at the start."""
    artifact: ArtifactStatus | None = None
    """The published artefact; what follows pins this digest."""
    cost: Cost = Cost()
    """What the attempts used."""
    attempt_start_time: str | None = None
    """When the pods of the current attempt were asked for."""
    running_since: str | None = None
    """When all pods of the current attempt first ran."""
    first_step_time: str | None = None
    """When the current attempt first reported."""
    failure: Failure | None = None
    """What went wrong in the current attempt, while its pods still end."""
    halt: Halt | None = None
    """Set while an attempt is being ended."""
    excluded_nodes: Annotated[list[str], Field(max_length=64)] = []
    """Nodes that later attempts keep away from, by restart.rules."""
    cleaned_up: bool = False
    """Whether the children were deleted after the end, as spec.cleanup asks."""
