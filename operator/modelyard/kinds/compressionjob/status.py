"""CompressionJob: what is reported back."""

from typing import Annotated

from pydantic import Field

from modelyard.api.base import Observed
from modelyard.api.references import LocalReference, StoredArtifact
from modelyard.api.resource import Status
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
from modelyard.contract.reports import PublishedArtifact


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


class TunedArtifact(StoredArtifact):
    """A pruned or factorised model that trials start from."""

    name: Annotated[str, Field(max_length=63)]
    """What was done to it; its trials' names begin so."""


class CompressionJobStatus(Status):
    """How the compression goes, and what came of it."""

    source: StoredArtifact | None = None
    """The source artefact, pinned when it was first seen."""
    tuned: Annotated[list[TunedArtifact], Field(max_length=16)] = []
    """What prune and lowRank made of it, pinned when they were done."""
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
