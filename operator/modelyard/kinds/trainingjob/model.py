"""TrainingJob: what a user asks of a training, and what is reported back."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, Observed, rule, transition_rule
from modelyard.api.containers import Accelerator, PodOptions, ResourceRequirements
from modelyard.api.quantities import DecimalString
from modelyard.api.references import Folder, LocalReference, Uri
from modelyard.api.resource import Resource, Status
from modelyard.contract.reports import CheckpointReport, PublishedArtifact

RESERVED_PREFIXES = ("PET_", "MODELYARD_", "TORCHELASTIC_")
RESERVED_NAMES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "JOB_COMPLETION_INDEX", "OMP_NUM_THREADS", "PYTHONUNBUFFERED",
)  # fmt: skip
_RESERVED = f"reserved names: {', '.join(RESERVED_NAMES)} and all that start with {', '.join(RESERVED_PREFIXES)}"


class EnvironmentVariable(Model):
    """One environment variable of every rank."""

    name: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The variable's name."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """The variable's value."""

    @rule(
        f"!(self.name in [{', '.join(repr(name) for name in RESERVED_NAMES)}])"
        f" && !self.name.matches('^({'|'.join(RESERVED_PREFIXES)})')",
        f"Modelyard sets this variable itself; choose another name ({_RESERVED})",
    )
    def _not_reserved(self) -> bool:
        return self.name not in RESERVED_NAMES and not self.name.startswith(RESERVED_PREFIXES)


class Code(Model):
    """Where the training code comes from."""

    config_map: LocalReference
    """A ConfigMap whose keys are file names. It is copied when the job starts: later edits change nothing."""


class Entrypoint(Model):
    """What each rank runs. Exactly one of script and module is set."""

    script: Annotated[str | None, Field(max_length=253, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")] = None
    """A file of the code."""
    module: Annotated[str | None, Field(max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = None
    """A Python module in the image, run as python -m would."""
    args: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=256)] = []
    """Arguments, passed on as they are."""

    @rule("has(self.script) != has(self.module)", "set exactly one of script and module")
    def _one_of_script_and_module(self) -> bool:
        return (self.script is None) != (self.module is None)


class Keep(Model):
    """Which checkpoints stay; the others are deleted."""

    latest: Annotated[int, Field(ge=1, le=100)] = 2
    """So many of the newest."""


class Checkpoint(Folder):
    """Where checkpoints go, and whether a new attempt starts from them."""

    uri: Uri
    """A folder; this job's checkpoints lie below it, under the job's uid."""
    resume: Literal["Auto", "Never"] = "Auto"
    """Auto: a new attempt starts from the newest committed checkpoint of this job."""
    keep: Keep = Keep()
    """Which checkpoints stay."""


class Output(Folder):
    """Where the artefact is published."""

    uri: Uri
    """A folder; the artefact is published below it, under its digest."""


class Restart(Model):
    """How often a failed gang is started again as a whole."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts before the job fails. An error that repeats with no checkpoint in between ends the job at once."""
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """Wait before the first restart; it doubles with each, up to 300 seconds."""


class Gate(Model):
    """A limit that a metric of the artefact must hold."""

    metric: Annotated[str, Field(min_length=1, max_length=63)]
    """A name that run.save(metrics=...) reported."""
    op: Literal["GreaterOrEqual", "LessOrEqual"] = "GreaterOrEqual"
    """How the metric compares with the value."""
    value: DecimalString
    """The limit, as a decimal string."""


class TrainingJobSpec(Model):
    """What to train, with how many processes, and where the result goes."""

    image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    """The trainer image. Default: the one that the operator was installed with."""
    code: Code | None = None
    """The training code; absent when the image holds it."""
    entrypoint: Entrypoint
    """What each rank runs."""
    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of pods."""
    procs_per_node: Annotated[int | None, Field(ge=1, le=64)] = None
    """Ranks in each pod. Default: the accelerators asked for, else 1."""
    backend: Literal["Auto", "Gloo", "Nccl"] = "Auto"
    """The process group's backend. Auto: Nccl where ranks have a GPU, else Gloo."""
    resources: ResourceRequirements = ResourceRequirements()
    """For each pod."""
    accelerator: Accelerator | None = None
    """GPUs for each pod."""
    env: Annotated[
        list[EnvironmentVariable],
        Field(
            max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = []
    """Environment variables of every rank."""
    checkpoint: Checkpoint | None = None
    """Absent: a restart begins again at step 0."""
    output: Output | None = None
    """Absent: nothing is published, and nothing can follow this job."""
    restart: Restart = Restart()
    """What happens when a rank, a pod or a node is lost."""
    gates: Annotated[list[Gate], Field(max_length=16)] = []
    """Limits that the artefact's metrics must hold; otherwise the job fails and hands nothing on."""
    pod: PodOptions = PodOptions()
    """Further options of the pods."""

    @rule(
        "!has(self.entrypoint.script) || has(self.code)", "entrypoint.script is a file of the code: set code.configMap"
    )
    def _script_has_code(self) -> bool:
        return self.entrypoint.script is None or self.code is not None

    @rule(
        "!has(self.gates) || size(self.gates) == 0 || has(self.output)",
        "gates look at the artefact: set output.uri",
    )
    def _gates_have_output(self) -> bool:
        return not self.gates or self.output is not None

    @transition_rule("self == oldSelf", "cannot be changed; delete the job, or give the new one another name")
    def _immutable(self, old: "TrainingJobSpec") -> bool:
        return self == old

    @property
    def ranks_per_node(self) -> int:
        """Ranks in each pod, with the default resolved."""
        if self.procs_per_node is not None:
            return self.procs_per_node
        return self.accelerator.count if self.accelerator is not None else 1


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
    checkpoint_step: int | None = None
    """The step that the next attempt starts from; absent: from the beginning."""


class Restarts(Observed):
    """How often the gang was started again."""

    counted: int = 0
    """Restarts that count against restart.maxRestarts."""
    uncounted: int = 0
    """Restarts that do not, such as after a preemption."""
    last: LastRestart | None = None
    """The newest of them."""


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
    last_heartbeat: str
    """When rank 0 last reported."""


class Resolved(Observed):
    """What was frozen when the job was first seen."""

    spec_hash: str
    """Digest of the spec, defaults included."""
    image: str
    """The image that runs."""
    code_digest: str | None = None
    """Digest of the code."""


class ArtifactStatus(PublishedArtifact):
    """The published artefact."""

    format: str = "Onnx"
    """The model's format."""
    secret_ref: LocalReference | None = None
    """The Secret with the keys to where it lies, from output.secretRef; what follows uses it too."""


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


class TrainingJob(Resource):
    """Distributed PyTorch training that survives faults and publishes its model by digest."""

    kind: Literal["TrainingJob"] = "TrainingJob"
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
