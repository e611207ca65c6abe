"""The run files: what the operator asks of one pod, mounted as ``config/run.json``."""

from typing import Literal

from modelyard.contract.artifact import ArtifactReference, Lineage
from modelyard.contract.base import Document
from modelyard.contract.digest import Digest


class RunIdentity(Document):
    """Which object, and which attempt at it, a pod works for."""

    namespace: str
    name: str
    uid: str
    """The object's uid: a checkpoint belongs to it, not to the name."""
    attempt: int = 1


class Place(Document):
    """A folder or a file in storage."""

    uri: str
    secret: str | None = None
    """The Secret with the keys to it, mounted as ``secrets/<name>``. Absent: the pod's own identity, or no need."""


class ArtifactPlace(ArtifactReference, Place):
    """An artefact to be read."""


class CheckpointRun(Place):
    """Where checkpoints go and what to start from."""

    resume: Literal["Auto", "Never"] = "Auto"
    """Auto: from the newest committed checkpoint of this job, and from ``resume_from`` where it has none."""
    resume_from: ArtifactPlace | None = None
    """A checkpoint of another job, by the digest of its commit."""
    keep_latest: int = 2
    keep_best: int = 0
    """So many more, chosen by the objective's metric as reported when they were taken."""


class InputRun(Place):
    """Data or weights that are fetched to ``inputs/<name>`` before the ranks start."""

    name: str
    digest: Digest | None = None
    """sha256 of the file, or of the canonical JSON of a folder's files by path; checked before the ranks start."""


class GitRun(Document):
    """Code from a git repository, checked out to ``work/code``."""

    url: str
    commit: str
    """The full commit: a branch would name other code at each attempt."""
    secret: str | None = None
    """The Secret with ``username`` and ``password`` or ``ssh-privatekey``, mounted as ``secrets/<name>``."""


class Objective(Document):
    """The metric that tells a better checkpoint from a worse one."""

    metric: str
    goal: Literal["Maximize", "Minimize"] = "Maximize"


SOURCE_INPUT, TRAINING_INPUT = "source", "training"
"""Where a tuning finds the artefact that it starts from, and its samples: ``inputs/<name>``."""


class FinetuneRun(Document):
    """How long, and how fast, a changed model learns again."""

    epochs: int
    learning_rate: float


class PruneRun(FinetuneRun):
    """Which channels go."""

    method: Literal["Taylor", "Magnitude"]
    round_to: int
    """What is left of each layer is a multiple of this."""


class DistilRun(Document):
    """The source as the teacher of the fine-tune."""

    temperature: float
    alpha: float
    """The teacher's share of the loss, from 0 to 1."""
    features: float = 0
    """The weight of the features' loss beside that."""


class VariantRun(Document):
    """One model to make of the source."""

    name: str
    ratio: float | None = None
    """The share of channels to prune. Absent: none."""
    energy: float | None = None
    """The share of squared singular values to keep. Absent: no layer is factorised."""


class TuneRun(Document):
    """What ``modelyard_trainer.tuning`` makes of a published model, in the ranks of a pod.

    The artefact lies at ``inputs/source``, and ``inputs/training`` is an .npz file with the inputs and ``labels``.
    """

    script: str
    """A file of the code."""
    model: str
    """The function or class in it that gives the module."""
    source: ArtifactPlace
    variants: list[VariantRun]
    prune: PruneRun | None = None
    low_rank: FinetuneRun | None = None
    distil: DistilRun | None = None
    seed: int = 0


class TrainRun(Document):
    """A TrainingJob's pod: ``python -m modelyard_trainer.launch``. Ranks and rendezvous come from PET_* variables."""

    identity: RunIdentity
    script: str | None = None
    """A file under ``code``; exactly one of script and module is set."""
    module: str | None = None
    args: list[str] = []
    git: GitRun | None = None
    """Instead of the mounted ``code``."""
    inputs: list[InputRun] = []
    backend: Literal["Auto", "Gloo", "Nccl"] = "Auto"
    process_restarts: int = 0
    """So often the ranks are started again in place, as long as every pod is there."""
    fork_server: bool = True
    """False: each rank is a process of its own from the start, for scripts that do not bear a fork."""
    stall_timeout_seconds: int | None = None
    """A rank that reported once and then not for so long is held to hang: stacks are printed and the attempt fails."""
    grace_seconds: int = 30
    """Between SIGTERM and SIGKILL: the time for a last checkpoint."""
    objective: Objective | None = None
    checkpoint: CheckpointRun | None = None
    output: Place | None = None
    """The artefact is published at ``<uri>/sha256-<12 hex digits>``."""
    tune: TuneRun | None = None
    """Of a CompressionJob: module is modelyard_trainer.tuning then, and each variant is published below output."""
    lineage: Lineage


class DataRun(Place):
    """One data set of a CompressionJob: an .npz file laid out as in the artefact."""

    digest: Digest | None = None


class MetricRun(Document):
    """How accuracy is measured: Top1, F1, Rmse, Cosine, or a function of the user's own under any other name."""

    name: str = "Top1"
    entrypoint: str | None = None
    """``package.module:function``, importable in the compressor's image."""
    higher_is_better: bool = True
    """Of an entry point; the others know."""

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is an error."""
        return self.name == "Rmse" if self.entrypoint is None else not self.higher_is_better


class QuantizeRun(Document):
    """The axes of quantization; each combination is one trial."""

    mode: list[Literal["Auto", "Static", "Dynamic", "Int4", "Float16"]]
    per_channel: list[bool]
    range_repair: list[bool] = [True, False]
    reduce_range: Literal["Auto", "Always", "Never"]
    """Auto: Always where an x86 CPU lacks VNNI, since U8S8 sums saturate there (onnxruntime#5849)."""
    calibration_method: list[Literal["MinMax", "Entropy", "Percentile"]]
    accuracy_fallback_nodes: int = 8
    """At most so many nodes are left in float where a trial would lose more accuracy than its gate allows."""


class SearchRun(Document):
    """How long to search."""

    max_trials: int = 16
    max_duration_seconds: int | None = None
    """No trial begins later than this after the first one of this pod."""
    parallelism: int = 1
    """Pods that share the trials; the one with index 0 waits for the others, measures and decides."""


class GatesRun(Document):
    """The limits that a candidate must hold. Absent limits are not checked."""

    max_accuracy_drop: float | None = None
    """Absolute, in units of the metric, against the source artefact on the evaluation set."""
    accuracy_drop_by: Literal["Mean", "UpperBound"] = "Mean"
    """UpperBound: the upper end of the drop's 95 % confidence interval must hold the limit."""
    max_latency_p99_milliseconds: float | None = None
    """At the first batch size."""
    min_speedup: float | None = None
    """Median latency of the source over the candidate's, at the first batch size."""
    max_size_bytes: int | None = None
    """Of ``model.onnx``."""
    min_int8_mac_share: float | None = None
    """Of the multiply-accumulates that onnxruntime executes, from 0 to 1."""
    on_failure: Literal["Reject", "PublishBaseline"] = "Reject"


class StartRun(ArtifactPlace):
    """A tuned model to quantize beside the source."""

    name: str
    """What was done to it; its trials' names begin so."""


class CompressRun(Document):
    """A CompressionJob's pod: ``python -m modelyard_compressor``."""

    identity: RunIdentity
    source: ArtifactPlace
    starts: list[StartRun] | None = None
    """Absent: the source alone is quantized."""
    calibration: DataRun | None = None
    """Default: the source artefact's calibration.npz."""
    evaluation: DataRun | None = None
    """Default: the source artefact's eval.npz."""
    calibration_samples: int = 256
    seed: int = 0
    metric: MetricRun = MetricRun()
    optimise: bool = True
    quantize: QuantizeRun
    search: SearchRun = SearchRun()
    batch_sizes: list[int] = [1]
    threads: int = 1
    gates: GatesRun
    output: Place
    """The artefact is published at ``<uri>/sha256-<12 hex digits>``."""
    report_name: str
    """The report is published at ``<uri>/<reportName>``, also when a gate said no."""
    lineage: Lineage


class BatchingRun(Document):
    """How requests share runs of the model."""

    mode: Literal["Auto", "Off"] = "Auto"
    max_batch_size: int | None = None
    """Rows of one run. Absent: measured at start."""
    max_delay_milliseconds: float = 0
    """How long a request may wait for others although a place to run is free."""
    max_queue: int = 256
    """Requests that may wait; one more is answered with 503."""


class ServeRun(Document):
    """A ModelService's pod: ``python -m modelyard_server``."""

    name: str
    """The model's name in URLs."""
    artifact: ArtifactPlace
    cpus: int | None = None
    """Cores to use. Absent: the cgroup's quota."""
    intra_op_threads: int | None = None
    """Threads of one run of the model. Absent: measured at start."""
    execution_providers: list[Literal["Cuda", "Cpu"]] = ["Cpu"]
    """What runs the model, best first; Cpu takes what the others leave."""
    batching: BatchingRun = BatchingRun()
    grpc: bool = True
    """Whether gRPC is spoken too, on its own port."""
    max_payload_bytes: int = 64 * 1024 * 1024
    pre_stop_seconds: int = 0
    """After SIGTERM: not ready, but still serving, for so long."""
    grace_seconds: int = 30
    """After that: time for requests in flight."""
    token_secret: str | None = None
    """The Secret whose ``token`` requests must bear, mounted as ``secrets/<name>``. Absent: everybody may ask."""
    tls_secret: str | None = None
    """The Secret with ``tls.crt`` and ``tls.key``, mounted as ``secrets/<name>``. Absent: plain HTTP and gRPC."""
    triton_metrics: bool = False
    """Whether the figures are also told under Triton's names, ``nv_inference_*``."""
