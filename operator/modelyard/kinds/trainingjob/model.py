"""TrainingJob: what a user asks of a training, and what is reported back."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, rule, transition_rule, unchanged
from modelyard.api.containers import Accelerator, PodOptions, ResourceRequirements
from modelyard.api.resource import Resource
from modelyard.kinds.code import Code
from modelyard.kinds.trainingjob.options import (
    Checkpoint,
    Cleanup,
    Elastic,
    Entrypoint,
    EnvironmentVariable,
    Gate,
    Input,
    Output,
    ProgressOptions,
    Restart,
    Scheduling,
)
from modelyard.kinds.trainingjob.status import TrainingJobStatus

IMMUTABLE = (
    "image", "code", "entrypoint", "elastic", "procs_per_node", "backend", "resources", "accelerator", "env", "inputs",
    "checkpoint", "output", "restart", "progress", "scheduling", "gates", "pod",
)  # fmt: skip
"""Fields that every attempt must find as the first did."""


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
    elastic: Elastic | None = None
    """Absent: a fixed number of pods, and the loss of one restarts all."""
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
    inputs: Annotated[
        list[Input],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = []
    """Data and weights that are fetched, and checked, before the ranks start."""
    checkpoint: Checkpoint | None = None
    """Absent: a restart begins again at step 0."""
    output: Output | None = None
    """Absent: nothing is published, and nothing can follow this job."""
    restart: Restart = Restart()
    """What happens when a rank, a pod or a node is lost."""
    progress: ProgressOptions = ProgressOptions()
    """What is done with what the script reports."""
    scheduling: Scheduling = Scheduling()
    """Who decides when the pods start."""
    suspend: bool = False
    """True: the pods are told to end, with the time for a last checkpoint; False again: the next attempt goes on."""
    active_deadline_seconds: Annotated[int | None, Field(ge=1, le=31536000)] = None
    """The job fails when all attempts together have run so long. Time suspended does not count."""
    start_deadline_seconds: Annotated[int | None, Field(ge=1, le=31536000)] = None
    """The job fails, and frees what it holds, when not all pods of an attempt run after so long."""
    cleanup: Cleanup = Cleanup()
    """Which children go after the end."""
    gates: Annotated[list[Gate], Field(max_length=16)] = []
    """Limits that the artefact's metrics must hold; otherwise the job fails and hands nothing on."""
    pod: PodOptions = PodOptions()
    """Further options of the pods."""

    @rule(
        "!has(self.entrypoint.script) || has(self.code)",
        "entrypoint.script is a file of the code: set code.configMap or code.git",
    )
    def _script_has_code(self) -> bool:
        return self.entrypoint.script is None or self.code is not None

    @rule(
        "!has(self.gates) || size(self.gates) == 0 || has(self.output)",
        "gates look at the artefact: set output.uri",
    )
    def _gates_have_output(self) -> bool:
        return not self.gates or self.output is not None

    @rule(
        "!has(self.elastic) || (self.elastic.minNodes <= self.nodes && self.nodes <= self.elastic.maxNodes)",
        "nodes: must lie between elastic.minNodes and elastic.maxNodes",
    )
    def _nodes_are_within_elastic(self) -> bool:
        return self.elastic is None or self.elastic.min_nodes <= self.nodes <= self.elastic.max_nodes

    @rule(
        "!has(self.checkpoint) || !has(self.checkpoint.keep) || self.checkpoint.keep.best == 0"
        " || (has(self.progress) && has(self.progress.objective))",
        "checkpoint.keep.best: set progress.objective, which tells better from worse",
    )
    def _best_has_objective(self) -> bool:
        return self.checkpoint is None or self.checkpoint.keep.best == 0 or self.progress.objective is not None

    @transition_rule(unchanged(*IMMUTABLE), "cannot be changed; delete the job, or give the new one another name")
    def _immutable(self, old: "TrainingJobSpec") -> bool:
        return self.model_dump(include=set(IMMUTABLE)) == old.model_dump(include=set(IMMUTABLE))

    @transition_rule("self.nodes == oldSelf.nodes || has(self.elastic)", "nodes can be changed only with elastic")
    def _nodes_change_with_elastic(self, old: "TrainingJobSpec") -> bool:
        return self.nodes == old.nodes or self.elastic is not None

    @property
    def ranks_per_node(self) -> int:
        """Ranks in each pod, with the default resolved."""
        if self.procs_per_node is not None:
            return self.procs_per_node
        return self.accelerator.count if self.accelerator is not None else 1


class TrainingJob(Resource):
    """Distributed PyTorch training that survives faults and publishes its model by digest."""

    kind: Literal["TrainingJob"] = "TrainingJob"
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
