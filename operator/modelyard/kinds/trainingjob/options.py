"""TrainingJob: the parts of what a user asks of a training."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, rule
from modelyard.api.quantities import DecimalString
from modelyard.api.references import DigestString, Folder, Location, StoredArtifact, Uri
from modelyard.api.variables import Reserved, Variable

RESERVED = Reserved(
    names=(
        "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
        "JOB_COMPLETION_INDEX", "OMP_NUM_THREADS", "PYTHONUNBUFFERED",
    ),
    prefixes=("PET_", "MODELYARD_", "TORCHELASTIC_", "KUBEFLOW_TRAINER_"),
)  # fmt: skip


class EnvironmentVariable(Variable):
    """One environment variable of every rank."""

    @rule(RESERVED.cel, RESERVED.message)
    def _not_reserved(self) -> bool:
        return not RESERVED.holds(self.name)


class Input(Location):
    """Data or weights that each pod fetches before its ranks start."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """The file or folder is at inputs/<name> below /modelyard, and run.input(name) gives its path."""
    uri: Uri
    """A file or, with / at its end, a folder: pvc://<claim>/<path>, s3://, gs:// or az://."""
    digest: DigestString | None = None
    """What it must hold. Default: what the first attempt finds is written down, and later ones must find the same."""


class Elastic(Model):
    """How many pods the training may go on with when some are lost, or are added by spec.nodes."""

    min_nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """It waits when fewer are there."""
    max_nodes: Annotated[int, Field(ge=1, le=1024)]
    """spec.nodes may be raised to this while it runs."""
    join_window_seconds: Annotated[int, Field(ge=1, le=600)] = 5
    """Once the least number of pods has met, it waits so long for the others."""


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
    best: Annotated[int, Field(ge=0, le=100)] = 0
    """So many more, those with the best value of progress.objective."""


class Checkpoint(Folder):
    """Where checkpoints go, and whether a new attempt starts from them."""

    uri: Uri
    """A folder; this job's checkpoints lie below it, under the job's uid."""
    resume: Literal["Auto", "Never", "From"] = "Auto"
    """Auto: a new attempt starts from the newest committed checkpoint of this job. From: so too, and the first attempt
    starts from the checkpoint in from. Never: each attempt starts at the beginning."""
    from_: Annotated[StoredArtifact | None, Field(alias="from")] = None
    """A checkpoint of another job, as that job's status.checkpoint names it."""
    grace_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """Pods that are told to end, as by suspend or a drain, have so long for a last checkpoint."""
    keep: Keep = Keep()
    """Which checkpoints stay."""

    @rule("(self.resume == 'From') == has(self.from)", "from goes with resume: From, and only with that")
    def _from_goes_with_from(self) -> bool:
        return (self.resume == "From") == (self.from_ is not None)


class Output(Folder):
    """Where the artefact is published."""

    uri: Uri
    """A folder; the artefact is published below it, under its digest."""


class RestartRule(Model):
    """What to do after a failure that fits all that is set here."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """For messages."""
    on_exit_codes: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(max_length=32)] = []
    """The exit code of the first failing rank is one of these."""
    on_message: Annotated[str | None, Field(min_length=1, max_length=256)] = None
    """The error of the first failing rank contains this text."""
    action: Literal["Restart", "Fail"] = "Restart"
    """Fail: the job ends at once."""
    counts: bool = True
    """Whether the restart counts against maxRestarts."""
    exclude_node: bool = False
    """Later attempts keep away from the node of the pod that failed first."""

    @rule(
        "(has(self.onExitCodes) && size(self.onExitCodes) > 0) || has(self.onMessage)",
        "set onExitCodes or onMessage: the rule would fit every failure",
    )
    def _asks_for_something(self) -> bool:
        return bool(self.on_exit_codes) or self.on_message is not None


class Restart(Model):
    """How failed ranks are started again: in place where every pod is still there, else all pods as a gang."""

    process_restarts: Annotated[int, Field(ge=0, le=100)] = 2
    """In each attempt, so often the ranks are started again in place after one of them failed."""
    rules: Annotated[list[RestartRule], Field(max_length=16)] = []
    """The first that fits a failure decides; without one, maxRestarts does."""
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts before the job fails. An error that repeats with no checkpoint in between ends the job at once."""
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """Wait before the first restart; it doubles with each, up to 300 seconds."""


class Objective(Model):
    """The metric that tells better from worse."""

    metric: Annotated[str, Field(min_length=1, max_length=63)]
    """A name that run.report(...) reports."""
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    """Which way is better."""


class ProgressOptions(Model):
    """What is done with what the script reports."""

    stall_timeout_seconds: Annotated[int | None, Field(ge=5, le=86400)] = None
    """A rank that reported once and then not for so long is held to hang: the stacks of all ranks are printed, and the
    attempt fails as Stalled. Default: it may think as long as it likes."""
    objective: Objective | None = None
    """Its best value is shown in the status, and checkpoint.keep.best goes by it."""


class Scheduling(Model):
    """Who decides when the pods start, and how urgent they are."""

    queue: Annotated[str | None, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = None
    """A LocalQueue of Kueue, which then decides when each attempt starts."""
    priority_class_name: Annotated[str | None, Field(min_length=1, max_length=253)] = None
    """A PriorityClass of the cluster, for the pods."""
    gang: Literal["Auto", "Never"] = "Auto"
    """Auto: where the cluster's scheduler knows PodGroups, it places all pods or none."""


class Cleanup(Model):
    """Which children go after the end. The TrainingJob itself stays, so that applying its file again trains nothing."""

    pods: Literal["Never", "OnSuccess", "Always"] = "Never"
    """When the pods, and with them their logs, go at once."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=31536000)] = None
    """All children go so long after the end. Default: they stay."""


class Gate(Model):
    """A limit that a metric of the artefact must hold."""

    metric: Annotated[str, Field(min_length=1, max_length=63)]
    """A name that run.save(metrics=...) reported."""
    op: Literal["GreaterOrEqual", "LessOrEqual"] = "GreaterOrEqual"
    """How the metric compares with the value."""
    value: DecimalString
    """The limit, as a decimal string."""
