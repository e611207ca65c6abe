"""What a pod says back: progress while it works, one termination message when it ends."""

import os
from bisect import bisect_right
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from modelyard.contract import layout
from modelyard.contract.artifact import ArtifactReference
from modelyard.contract.base import Document
from modelyard.contract.compression import (
    Candidate,
    Environment,
    GateResult,
    Measurement,
    MemoryReport,
    ParetoPoint,
    ReportLocation,
    TrialCounts,
)
from modelyard.contract.decimals import Decimal
from modelyard.contract.digest import Digest

TERMINATION_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps."""
EXIT_FAILED = 1
"""Exit code of a pod that failed; another try may succeed."""
EXIT_FINAL = 3
"""Exit code of a pod whose outcome another try would only repeat: a rejection, or input that is wrong."""

FINAL_REASONS = frozenset(
    {
        "ScriptNotFound", "NothingSaved", "ExportFailed", "ExportMismatch", "StorageFull", "RendezvousInvalid",
        "DigestMismatch", "InputMissing", "ModelNotFound", "WeightsMismatch", "TrainingDataInvalid", "PruneFailed",
        "LowRankFailed", "Diverged",
    }
)  # fmt: skip
"""Failures of a training that another attempt would only repeat."""


class CheckpointReport(Document):
    """The newest committed checkpoint."""

    step: int
    """The training step that it was taken after."""
    uri: str
    """Where it lies."""
    digest: Digest
    """Digest of its content."""


class InPlace(Document):
    """Restarts of the ranks within one attempt, with every pod left in place."""

    count: int
    """How often so far."""
    reason: str
    """Why the last time."""
    message: str
    """The first failing rank and its error, the last time."""
    rank: int | None = None
    """The first failing global rank, the last time."""


class InputReport(Document):
    """An input as it was fetched."""

    name: str
    """Its name in the spec."""
    digest: Digest
    """sha256 of the file, or of the canonical JSON of a folder's files by path."""
    size_bytes: int
    """Size of all its files."""


class Serving(Document):
    """How a pod of a ModelService runs its model, as it chose when it started."""

    provider: Literal["Cuda", "Cpu"]
    """What runs the model: the first of the execution providers that is there."""
    mode: Literal["Inline", "Threads"]
    """Inline: on the event loop. Threads: in threads beside it."""
    instances: int
    """Runs of the model at once."""
    threads: int
    """Threads of each."""
    max_batch: int
    """Rows of one run for several requests; 1: requests share none."""
    run_microseconds: int
    """The shortest time of a run of one row."""
    rows_per_second: int
    """What these runs of so many rows come to, without any request around them."""


class ProgressReport(Document):
    """How far a pod is. Replaced as a whole at each report."""

    stage: str
    """One word for what the pod does now, such as Training, Publishing, Quantizing, Measuring."""
    step: int = 0
    total_steps: int | None = None
    eta_seconds: int | None = None
    metrics: dict[str, Decimal] = {}
    best: Decimal | None = None
    """The best value of the objective's metric so far, over all attempts that were resumed from."""
    world_size: int | None = None
    """The ranks that train now."""
    resumed_step: int | None = None
    """The step of the checkpoint that this attempt went on from; 0 from the beginning, absent before that is known."""
    checkpoint: CheckpointReport | None = None
    checkpoint_failure: str | None = None
    """Why the last checkpoint could not be stored; gone with the next one that is. The training goes on."""
    in_place: InPlace | None = None
    inputs: list[InputReport] = []
    serving: Serving | None = None
    memory: MemoryReport | None = None
    time: str
    """RFC 3339, UTC."""

    def write(self) -> None:
        """Replace this pod's progress file by rename. Raises OSError."""
        replace_file(layout.root() / layout.WORK / layout.PROGRESS_FILE, self.to_json())

    @classmethod
    def read(cls) -> Self:
        """The newest of this pod. Raises OSError."""
        return cls.model_validate_json((layout.root() / layout.WORK / layout.PROGRESS_FILE).read_bytes())


class PublishedArtifact(ArtifactReference):
    """A published artefact and what its manifest says of it."""

    size_bytes: int
    """Size of its files."""
    metrics: dict[str, Decimal] = {}
    """The metrics that were saved with it."""


class TunedModel(Document):
    """A pruned or factorised model, fine-tuned and published below ``tuned`` in the job's output."""

    name: str
    """What was done to it."""
    digest: Digest
    """The artefact's digest."""


class Termination(Document):
    """How a pod ended, in at most 4 KiB; fields that do not concern its kind are absent."""

    outcome: Literal["Succeeded", "Failed", "Rejected"]
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=128)]
    """CamelCase, for a condition."""
    message: str
    """For a person: what happened, and the remedy where there is one."""
    rank: int | None = None
    """The first failing global rank."""
    exit_code: int | None = None
    """That rank's exit code, where it ended with one."""
    checkpoint: CheckpointReport | None = None
    step: int | None = None
    """The last step that rank 0 reported."""
    best: Decimal | None = None
    in_place: InPlace | None = None
    inputs: list[InputReport] = []
    artifact: PublishedArtifact | None = None
    tuned: Annotated[list[TunedModel], Field(max_length=16)] | None = None
    baseline: Measurement | None = None
    selected: Candidate | None = None
    gates: list[GateResult] = []
    trials: TrialCounts | None = None
    pareto: Annotated[list[ParetoPoint], Field(max_length=20)] = []
    environment: Environment | None = None
    memory: MemoryReport | None = None
    report: ReportLocation | None = None

    def fitted(self) -> Self:
        """The same, with as little of the message's middle cut as makes the JSON fit into 4 KiB.

        Points of the Pareto front go first, the slowest of them before the others: the report has them all.
        """
        if _size(self) <= TERMINATION_LIMIT:
            return self
        if self.pareto:
            return self.model_copy(update={"pareto": self.pareto[:-1]}).fitted()
        kept = bisect_right(range(len(self.message)), TERMINATION_LIMIT, key=lambda keep: _size(self._cut(keep)))
        return self._cut(max(0, kept - 1))

    def _cut(self, keep: int) -> Self:
        head, tail = keep // 3, keep - keep // 3
        shorter = f"{self.message[:head]} … {self.message[len(self.message) - tail :]}"
        return self.model_copy(update={"message": shorter})

    def write(self) -> None:
        """Write this pod's termination message, in place: the kubelet mounts the file. Raises OSError."""
        (layout.root() / layout.TERMINATION_LOG).write_text(self.fitted().to_json())


def _size(document: Document) -> int:
    return len(document.to_json().encode())


def replace_file(path: Path, text: str) -> None:
    """Replace ``path`` so that a reader sees the old text or the new, never a part. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
