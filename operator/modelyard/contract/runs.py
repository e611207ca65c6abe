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
    """Where checkpoints go and whether to start from the newest one."""

    resume: Literal["Auto", "Never"] = "Auto"
    keep_latest: int = 2


class TrainRun(Document):
    """A TrainingJob's pod: ``python -m modelyard_trainer.launch``. Ranks and rendezvous come from PET_* variables."""

    identity: RunIdentity
    script: str | None = None
    """A file under ``code``; exactly one of script and module is set."""
    module: str | None = None
    args: list[str] = []
    backend: Literal["Auto", "Gloo", "Nccl"] = "Auto"
    checkpoint: CheckpointRun | None = None
    output: Place | None = None
    """The artefact is published at ``<uri>/sha256-<12 hex digits>``."""
    lineage: Lineage


class DataRun(Place):
    """One data set of a CompressionJob: an .npz file laid out as in the artefact."""

    digest: Digest | None = None


class QuantizeRun(Document):
    """The axes of quantization; each combination is one trial."""

    mode: list[Literal["Auto", "Static", "Dynamic"]]
    per_channel: list[bool]
    reduce_range: Literal["Auto", "Always", "Never"]
    """Auto: Always where an x86 CPU lacks VNNI, since U8S8 sums saturate there (onnxruntime#5849)."""
    calibration_method: list[Literal["MinMax", "Entropy", "Percentile"]]


class GatesRun(Document):
    """The limits that a candidate must hold. Absent limits are not checked."""

    max_accuracy_drop: float | None = None
    """Absolute, in units of the metric, against the source artefact on the evaluation set."""
    max_latency_p99_milliseconds: float | None = None
    """At the first batch size."""
    min_speedup: float | None = None
    """Median latency of the source over the candidate's, at the first batch size."""
    max_size_bytes: int | None = None
    """Of ``model.onnx``."""


class CompressRun(Document):
    """A CompressionJob's pod: ``python -m modelyard_compressor``."""

    identity: RunIdentity
    source: ArtifactPlace
    calibration: DataRun | None = None
    """Default: the source artefact's calibration.npz."""
    evaluation: DataRun | None = None
    """Default: the source artefact's eval.npz."""
    calibration_samples: int = 256
    seed: int = 0
    metric: Literal["Top1", "Rmse", "Cosine"] = "Top1"
    optimise: bool = True
    quantize: QuantizeRun
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
    token_file: str | None = None
    """A file with the bearer token that requests must carry. Absent: everybody may ask."""
    tls_folder: str | None = None
    """A folder with tls.crt and tls.key. Absent: plain HTTP."""
    triton_metrics: bool = False
    """Whether the figures are also told under Triton's names, ``nv_inference_*``."""
