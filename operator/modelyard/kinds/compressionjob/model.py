"""CompressionJob: which model to compress, how, under which gates, and what came of it."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, rule, transition_rule, unchanged
from modelyard.api.containers import Accelerator, PodOptions, ResourceRequirements
from modelyard.api.quantities import DecimalString
from modelyard.api.references import DigestString, Folder, LocalReference, Location, StoredArtifact, Uri
from modelyard.api.resource import Resource
from modelyard.kinds.code import Code
from modelyard.kinds.compressionjob.metric import Metric
from modelyard.kinds.compressionjob.recipe import Distil, LowRank, Optimise, Prune, Quantize, Step
from modelyard.kinds.compressionjob.status import CompressionJobStatus

_TUNES = "self.recipe.exists(step, has(step.prune) || has(step.lowRank))"
_PLACE = "has(step.prune) ? 0 : has(step.lowRank) ? 1 : has(step.distil) ? 2 : has(step.quantize) ? 4 : 3"

IMMUTABLE = (
    "image", "source", "data", "code", "entrypoint", "trainer_image", "tuning", "metric", "recipe", "search", "target",
    "gates", "output", "backoff_limit", "pod",
)  # fmt: skip
"""Fields that every pod must find as the first did: all but ``suspend``."""


class CompressionSource(Model):
    """The model to compress. Exactly one is set."""

    training_job: LocalReference | None = None
    """A TrainingJob; its artefact is taken when it is Complete."""
    artifact: StoredArtifact | None = None
    """A published artefact."""

    @rule("has(self.trainingJob) != has(self.artifact)", "set exactly one of trainingJob and artifact")
    def _one_source(self) -> bool:
        return (self.training_job is None) != (self.artifact is None)


class DataSet(Location):
    """An .npz file with one array for each model input, samples first."""

    uri: Uri
    """Where the file lies."""
    digest: DigestString | None = None
    """Its digest; checked when set."""


class CalibrationSet(Location):
    """Inputs from which activation ranges are learnt."""

    uri: Uri | None = None
    """An .npz file with one array for each model input. Default: calibration.npz of the source artefact."""
    digest: DigestString | None = None
    """The file's digest; checked when set."""
    samples: Annotated[int, Field(ge=1, le=100000)] = 256
    """At most so many samples are used."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Chooses the samples."""

    @rule("!has(self.digest) || has(self.uri)", "digest is of the file at uri: set uri too")
    def _digest_has_uri(self) -> bool:
        return self.digest is None or self.uri is not None


class Data(Model):
    """Data for calibration and for the accuracy gate. The two must differ."""

    calibration: CalibrationSet = CalibrationSet()
    """Never seen by the evaluation."""
    evaluation: DataSet | None = None
    """With an array named labels. Default: eval.npz of the source artefact."""
    training: DataSet | None = None
    """With an array named labels; for the fine-tune after prune and lowRank. Best without samples of the evaluation."""

    @rule(
        "!has(self.evaluation) || !has(self.calibration.uri) || self.evaluation.uri != self.calibration.uri",
        "calibration and evaluation must be different sets",
    )
    def _sets_differ(self) -> bool:
        return self.evaluation is None or self.evaluation.uri != self.calibration.uri

    @rule(
        "!has(self.evaluation) || !has(self.evaluation.digest) || !has(self.calibration.digest)"
        " || self.evaluation.digest != self.calibration.digest",
        "calibration and evaluation have one digest, so they are one set: name another file for calibration",
    )
    def _digests_differ(self) -> bool:
        if self.evaluation is None or self.evaluation.digest is None:
            return True
        return self.evaluation.digest != self.calibration.digest


class Search(Model):
    """How long to search. A trial that cannot be built or run is infeasible, and the others go on."""

    max_trials: Annotated[int, Field(ge=1, le=256)] = 16
    """At most so many combinations: the first one, and others drawn by data.calibration.seed."""
    max_duration_seconds: Annotated[int | None, Field(ge=1)] = None
    """No trial begins later than this after the first."""
    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    """So many pods build trials at once; one of them measures all of them when they are built, and publishes."""


class ModelEntrypoint(Model):
    """What gives the model that the source was trained as; the source's weights are loaded into it."""

    script: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
    """A file of the code. It is imported: what it trains must stand under ``if __name__ == "__main__":``."""
    model: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """A function or class in it, without arguments, that gives the nn.Module."""


class Tuning(Model):
    """The pods that prune, factorise and fine-tune, all processes together as in a TrainingJob."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of pods."""
    procs_per_node: Annotated[int | None, Field(ge=1, le=64)] = None
    """Processes in each pod. Default: the accelerators asked for, else 1."""
    resources: ResourceRequirements = ResourceRequirements()
    """For each pod."""
    accelerator: Accelerator | None = None
    """GPUs for each pod."""

    @property
    def ranks_per_node(self) -> int:
        """Processes in each pod, with the default resolved."""
        if self.procs_per_node is not None:
            return self.procs_per_node
        return self.accelerator.count if self.accelerator is not None else 1


class Target(Model):
    """Where the model will serve; it is measured there."""

    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = {}
    """Labels of the nodes that will serve."""
    resources: ResourceRequirements = ResourceRequirements()
    """The service's limits. Threads are the CPU limit, rounded up."""
    batch_sizes: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=1, max_length=8)] = [1]
    """Batch sizes that are measured; the gates look at the first."""


class Gates(Model):
    """Limits that the compressed model must hold, or it is rejected."""

    max_accuracy_drop: DecimalString | None = None
    """Largest loss against the source on the evaluation set, absolute: 0.01 is one point."""
    accuracy_drop_by: Literal["Mean", "UpperBound"] = "Mean"
    """UpperBound: the upper end of the loss's 95 % confidence interval must hold, which takes more samples."""
    max_latency_p99_milliseconds: Annotated[int | None, Field(ge=1)] = None
    """Largest 99th percentile of latency."""
    min_speedup: DecimalString | None = None
    """Smallest ratio of the source's median latency to the compressed model's."""
    max_size_bytes: Annotated[int | None, Field(ge=1)] = None
    """Largest model file."""
    min_int8_mac_share: DecimalString | None = None
    """Smallest share of the multiplications that run in eight bits once the graph is fused, from 0 to 1."""
    on_failure: Literal["Reject", "PublishBaseline"] = "Reject"
    """PublishBaseline: publish the source model unchanged where no candidate holds its gates."""


class CompressionOutput(Folder):
    """Where the artefact and the report are published."""

    uri: Uri
    """A folder; the artefact is published below it, under its digest."""


class CompressionJobSpec(Model):
    """What to compress, how, and what it must hold to be handed on."""

    image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    """The compressor image. Default: the one that the operator was installed with."""
    trainer_image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    """The image in which prune and lowRank run. Default: the trainer that the operator was installed with."""
    code: Code | None = None
    """The code with the model's class, for prune and lowRank."""
    entrypoint: ModelEntrypoint | None = None
    """Which function or class of the code gives the model, for prune and lowRank."""
    tuning: Tuning | None = None
    """The pods of prune and lowRank. Default: one with one process."""
    source: CompressionSource
    """The model to compress."""
    data: Data = Data()
    """Calibration and evaluation data. Default: what the source artefact brings."""
    metric: Metric = Metric()
    """How accuracy is measured."""
    recipe: Annotated[list[Step], Field(min_length=1, max_length=5)] = [
        Step(optimise=Optimise()),
        Step(quantize=Quantize()),
    ]
    """The steps, in order."""
    search: Search = Search()
    """How long to search where the recipe leaves a choice."""
    target: Target = Target()
    """Where the model will serve."""
    gates: Gates = Gates()
    """What the compressed model must hold."""
    output: CompressionOutput
    """Where the result goes."""
    suspend: bool = False
    """True: the pod is ended, and finished trials are kept below output.uri; False again: the search goes on there."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 2
    """Retries after a failure of the infrastructure. A rejection is a result and never retried."""
    pod: PodOptions = PodOptions()
    """Further options of the pod."""

    @rule(
        "self.recipe.exists_one(step, has(step.quantize)) && has(self.recipe[size(self.recipe) - 1].quantize)",
        "recipe: exactly one quantize step, and it is the last",
    )
    def _quantize_is_last(self) -> bool:
        quantized = [step.quantize is not None for step in self.recipe]
        return quantized[-1] and sum(quantized) == 1

    @rule(
        f"[0, 1, 2, 3, 4].filter(place, self.recipe.exists(step, place == ({_PLACE})))"
        f" == self.recipe.map(step, {_PLACE})",
        "recipe: the steps in the order prune, lowRank, distil, optimise, quantize, each at most once",
    )
    def _steps_are_in_order(self) -> bool:
        places = [step.place for step in self.recipe]
        return places == sorted(set(places))

    @rule(
        f"!({_TUNES}) || (has(self.code) && has(self.entrypoint) && has(self.data) && has(self.data.training))",
        "recipe: prune and lowRank change the model's class and train it again: set code, entrypoint and data.training",
    )
    def _tuning_has_what_it_needs(self) -> bool:
        return not self.tunes or None not in (self.code, self.entrypoint, self.data.training)

    @rule(
        f"{_TUNES} || !(has(self.code) || has(self.entrypoint) || has(self.trainerImage) || has(self.tuning)"
        " || (has(self.data) && has(self.data.training)) || self.recipe.exists(step, has(step.distil)))",
        "code, entrypoint, trainerImage, tuning, data.training and a distil step are for prune and lowRank: add such a"
        " step to the recipe, or leave them out",
    )
    def _what_tunes_is_used(self) -> bool:
        given = (self.code, self.entrypoint, self.trainer_image, self.tuning, self.data.training, self.distil)
        return self.tunes or all(each is None for each in given)

    @transition_rule(unchanged(*IMMUTABLE), "cannot be changed; delete the job, or give the new one another name")
    def _immutable(self, old: "CompressionJobSpec") -> bool:
        return self.model_dump(include=set(IMMUTABLE)) == old.model_dump(include=set(IMMUTABLE))

    @property
    def quantize(self) -> Quantize:
        """The quantize step."""
        return next(step.quantize for step in self.recipe if step.quantize is not None)

    @property
    def prune(self) -> Prune | None:
        """The prune step, if there is one."""
        return next((step.prune for step in self.recipe if step.prune is not None), None)

    @property
    def low_rank(self) -> LowRank | None:
        """The lowRank step, if there is one."""
        return next((step.low_rank for step in self.recipe if step.low_rank is not None), None)

    @property
    def distil(self) -> Distil | None:
        """The distil step, if there is one."""
        return next((step.distil for step in self.recipe if step.distil is not None), None)

    @property
    def tunes(self) -> bool:
        """Whether a step needs the model's class."""
        return self.prune is not None or self.low_rank is not None


class CompressionJob(Resource):
    """Compresses a model to int8 ONNX and publishes it only if it passes its gates, measured where it will serve."""

    kind: Literal["CompressionJob"] = "CompressionJob"
    spec: CompressionJobSpec
    status: CompressionJobStatus = CompressionJobStatus()
