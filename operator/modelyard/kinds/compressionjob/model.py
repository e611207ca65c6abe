"""CompressionJob: which model to compress, how, under which gates, and what came of it."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, Observed, rule, transition_rule, unchanged
from modelyard.api.containers import PodOptions, ResourceRequirements
from modelyard.api.quantities import DecimalString
from modelyard.api.references import DigestString, Folder, LocalReference, Location, StoredArtifact, Uri
from modelyard.api.resource import Resource, Status
from modelyard.contract.reports import (
    Candidate,
    Environment,
    GateResult,
    Measurement,
    MemoryReport,
    ParetoPoint,
    PublishedArtifact,
    ReportLocation,
    TrialCounts,
)

IMMUTABLE = (
    "image", "source", "data", "metric", "recipe", "search", "target", "gates", "output", "backoff_limit", "pod",
)  # fmt: skip
"""Fields that every pod must find as the first did: all but ``suspend``."""
BUILT_IN_METRICS = ("Top1", "F1", "Rmse", "Cosine")
ENTRYPOINT = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


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


class Metric(Model):
    """How accuracy is measured on the evaluation set."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=63)] = "Top1"
    """Top1: share of samples whose largest output is the label. F1: mean over the classes of the harmonic mean of
    precision and recall, for classes of unequal size. Rmse: root mean square error, lower is better.
    Cosine: mean cosine similarity to the labels. Any other name is that of an entry point's metric."""
    entrypoint: Annotated[str | None, Field(pattern=ENTRYPOINT, max_length=253)] = None
    """A function that can be imported in the compressor's image, as package.module:function. It is called with the
    model's outputs by name and the labels, batch by batch, and returns one number a sample; the metric is their mean.
    """
    higher_is_better: bool | None = None
    """False: the metric of the entry point is an error. Default: true."""

    @rule(
        "has(self.entrypoint) != (self.name in ['Top1', 'F1', 'Rmse', 'Cosine'])",
        "metric.name: one of Top1, F1, Rmse and Cosine, or another one with an entrypoint",
    )
    def _own_name_has_entrypoint(self) -> bool:
        return (self.entrypoint is not None) != (self.name in BUILT_IN_METRICS)

    @rule(
        "!has(self.higherIsBetter) || has(self.entrypoint)",
        "metric.higherIsBetter is of an entrypoint; the other metrics know",
    )
    def _direction_has_entrypoint(self) -> bool:
        return self.higher_is_better is None or self.entrypoint is not None


class Quantize(Model):
    """Fewer bits in place of floats. Each list is a search axis: every combination is a trial."""

    mode: Annotated[
        list[Literal["Auto", "Static", "Dynamic", "Int4", "Float16"]], Field(min_length=1, max_length=5)
    ] = ["Auto"]
    """Static: convolutions, with calibration. Dynamic: matrix products only. Auto: one of these, by the model's
    operators. Int4: weights of matrix products in four bits. Float16: weights stored in 16 bits, computed in 32.
    """
    per_channel: Annotated[list[bool], Field(min_length=1, max_length=2)] = [True, False]
    """One scale for each output channel of a weight."""
    range_repair: Annotated[list[bool], Field(min_length=1, max_length=2)] = [True, False]
    """Even out the ranges of channels before, and correct biases after. The float function stays the same."""
    reduce_range: Literal["Auto", "Always", "Never"] = "Auto"
    """Seven-bit weights. Auto: where the CPU has no VNNI and would saturate."""
    calibration_method: Annotated[
        list[Literal["MinMax", "Entropy", "Percentile"]], Field(min_length=1, max_length=3)
    ] = ["MinMax"]
    """How ranges follow from the calibration data."""
    accuracy_fallback_nodes: Annotated[int, Field(ge=0, le=256)] = 8
    """At most so many nodes stay in float, the noisiest first, where a trial would not hold gates.maxAccuracyDrop."""


class Search(Model):
    """How long to search. A trial that cannot be built or run is infeasible, and the others go on."""

    max_trials: Annotated[int, Field(ge=1, le=256)] = 16
    """At most so many combinations: the first one, and others drawn by data.calibration.seed."""
    max_duration_seconds: Annotated[int | None, Field(ge=1)] = None
    """No trial begins later than this after the first."""
    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    """So many pods build trials at once; one of them measures all of them when they are built, and publishes."""


class Optimise(Model):
    """Graph optimisation before quantization; it has no options yet."""


class Step(Model):
    """One step of the recipe. Exactly one is set."""

    optimise: Optimise | None = None
    """Fold constants and fuse operators."""
    quantize: Quantize | None = None
    """Quantize to eight bits."""

    @rule("has(self.optimise) != has(self.quantize)", "set exactly one of optimise and quantize in each step")
    def _one_step(self) -> bool:
        return (self.optimise is None) != (self.quantize is None)


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
    source: CompressionSource
    """The model to compress."""
    data: Data = Data()
    """Calibration and evaluation data. Default: what the source artefact brings."""
    metric: Metric = Metric()
    """How accuracy is measured."""
    recipe: Annotated[list[Step], Field(min_length=1, max_length=2)] = [
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
        return [step.quantize is not None for step in self.recipe] in ([True], [False, True])

    @transition_rule(unchanged(*IMMUTABLE), "cannot be changed; delete the job, or give the new one another name")
    def _immutable(self, old: "CompressionJobSpec") -> bool:
        return self.model_dump(include=set(IMMUTABLE)) == old.model_dump(include=set(IMMUTABLE))

    @property
    def quantize(self) -> Quantize:
        """The quantize step."""
        return next(step.quantize for step in self.recipe if step.quantize is not None)


class CompressionProgress(Observed):
    """How far the pod is."""

    stage: str
    """What it does now."""
    step: int
    """Steps done in this stage."""
    total_steps: int | None = None
    """Steps of this stage."""


class CompressedArtifact(PublishedArtifact):
    """The published artefact and the one that it was made from."""

    parent_digest: str
    """Digest of the source artefact."""
    secret_ref: LocalReference | None = None
    """The Secret with the keys to where it lies, from output.secretRef; what follows uses it too."""


class CompressionJobStatus(Status):
    """How the compression goes, and what came of it."""

    source: StoredArtifact | None = None
    """The source artefact, pinned when it was first seen."""
    progress: CompressionProgress | None = None
    """How far it is."""
    memory: MemoryReport | None = None
    """What it takes, as the pod estimates before it begins; with a lower limit the job fails then."""
    environment: Environment | None = None
    """Where it was measured."""
    baseline: Measurement | None = None
    """The source model."""
    selected: Candidate | None = None
    """The best candidate."""
    gates: Annotated[list[GateResult], Field(max_length=16)] = []
    """Each gate's verdict on it."""
    trials: TrialCounts | None = None
    """What became of the planned trials."""
    pareto: Annotated[list[ParetoPoint], Field(max_length=20)] = []
    """Trials that no other one beats in accuracy, latency and size together, the fastest first."""
    artifact: CompressedArtifact | None = None
    """The published artefact; what follows pins this digest."""
    report: ReportLocation | None = None
    """The report of all trials."""


class CompressionJob(Resource):
    """Compresses a model to int8 ONNX and publishes it only if it passes its gates, measured where it will serve."""

    kind: Literal["CompressionJob"] = "CompressionJob"
    spec: CompressionJobSpec
    status: CompressionJobStatus = CompressionJobStatus()
