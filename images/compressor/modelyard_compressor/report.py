"""What does the report say, and where does it go? One JSON document, and a page made from nothing else."""

from datetime import datetime
from typing import Literal

from modelyard.contract.artifact import ArtifactReference, Lineage
from modelyard.contract.base import Document
from modelyard.contract.compression import ReportLocation
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import GatesRun, MetricRun, Place, RunIdentity
from modelyard.storage.disk import storage_error
from modelyard.storage.store import open_store
from modelyard_compressor.data import DataOrigin
from modelyard_compressor.latency import NOISY
from modelyard_compressor.layers import Layer
from modelyard_compressor.results import Figures, InfeasibleTrial, MeasuredTrial, pareto

HTML_FILE = "report.html"
JSON_FILE = "report.json"


class DataReport(Document):
    """Which samples were used."""

    evaluation: DataOrigin
    calibration: DataOrigin | None = None
    """Absent where no trial needed it and the source carries none."""
    calibration_samples: int
    """How many of them were drawn; 0 where no trial needs any."""
    shared_samples: int
    """Evaluation samples that the calibration file also holds."""
    seed: int


class Machine(Document):
    """Where the figures were measured, and with what."""

    cpu_model: str
    architecture: str
    vnni: bool
    flags: list[str] = []
    """Those that decide how numbers are multiplied."""
    threads: int
    throttled_periods: int | None = None
    """Scheduling periods in which the CPU limit stopped the pod while it measured; absent where unknown."""
    frameworks: dict[str, str]


class Report(Document):
    """Everything that one CompressionJob found out."""

    schema_version: Literal[1] = 1
    created: datetime
    identity: RunIdentity
    outcome: Literal["Succeeded", "Rejected"]
    reason: str
    message: str
    metric: MetricRun
    source: ArtifactReference
    starts: dict[str, ArtifactReference] | None = None
    """The tuned models that trials start from beside the source, by what was done to them."""
    artifact: PublishedArtifact | None = None
    """Absent where a gate said no and the source was not to be published instead."""
    lineage: Lineage
    data: DataReport
    machine: Machine
    limits: GatesRun
    baseline: Figures
    trials: list[MeasuredTrial]
    infeasible: list[InfeasibleTrial]
    skipped: list[str] = []
    """Trials for which there was no time."""
    left_out: int = 0
    """Combinations of the recipe beyond ``search.maxTrials``."""
    selected: str
    """The name of one of ``trials``."""
    layers: list[Layer]
    """Of the selected trial."""
    opset: int
    ir_version: int

    @property
    def chosen(self) -> MeasuredTrial:
        """The selected trial."""
        return next(trial for trial in self.trials if trial.name == self.selected)

    @property
    def front(self) -> list[str]:
        """The names of the trials on the Pareto front of accuracy, median latency and size."""
        return [trial.name for trial in pareto(self.trials)]

    @property
    def noisy(self) -> bool:
        """Whether the baseline's latency varied too much for the comparison to be trusted."""
        return any(latency.variation > NOISY for latency in self.baseline.latencies)


def publish_report(report: Report, html: str, output: Place, name: str) -> ReportLocation:
    """Write both files to ``<output>/<name>``, in place of those of an earlier try.

    Raises StorageError; the earlier report is there then.
    """
    place = open_store(output.uri, output.secret) / name
    try:
        with place.staged(JSON_FILE, replace=True) as staging:
            (staging / HTML_FILE).write_text(html)
            (staging / JSON_FILE).write_text(report.to_json())
    except OSError as error:
        raise storage_error(error, place.uri, place.directory, "PublishFailed") from error
    return ReportLocation(html=f"{place.uri}/{HTML_FILE}", json_=f"{place.uri}/{JSON_FILE}")
