"""What a compression says of its models, trials and gates, in its termination message and in the status."""

from typing import Annotated

from pydantic import Field

from modelyard.contract.base import Document
from modelyard.contract.decimals import Decimal


class MemoryReport(Document):
    """What a compression takes, as estimated before it begins, and what its pod may take."""

    estimate_bytes: int
    """The most that it takes at once, within about a third."""
    limit_bytes: int | None = None
    """The pod's limit; absent where it has none."""


class Measurement(Document):
    """Accuracy, latency and size of one model, measured in the compressor's pod."""

    accuracy: Decimal
    """The metric of the spec, on the evaluation set."""
    latency_p50_milliseconds: Decimal
    """Median latency at the first batch size."""
    latency_p99_milliseconds: Decimal
    """99th percentile of latency at the first batch size."""
    size_bytes: int
    """Size of the model file."""


class Candidate(Measurement):
    """A compressed model beside its source."""

    trial: str
    """What was tried, in short."""
    accuracy_drop: Decimal
    """Loss against the source, absolute; below 0 where it gained."""
    speedup: Decimal
    """The source's median latency over this one's."""
    int8_mac_share: Decimal
    """The share of multiplications that run in eight bits, from 0 to 1."""


class ParetoPoint(Document):
    """A trial that no other one beats in accuracy, latency and size together."""

    trial: str
    """What was tried, in short."""
    accuracy_drop: Decimal
    """Loss against the source, absolute."""
    latency_p50_milliseconds: Decimal
    """Median latency at the first batch size."""
    size_bytes: int
    """Size of the model file."""


class TrialCounts(Document):
    """What became of the planned trials."""

    measured: int
    """Built, evaluated and timed."""
    infeasible: int
    """Could not be built or run; the report says why."""
    skipped: int
    """Not tried, for want of time or beyond search.maxTrials."""


class GateResult(Document):
    """One gate's verdict."""

    name: str
    """The gate's name in the spec."""
    limit: Decimal
    """What the spec asks for."""
    observed: Decimal
    """What was measured."""
    passed: bool
    """Whether the limit holds."""


class Environment(Document):
    """The CPU and runtime that the measurements hold for."""

    cpu_model: str
    """The CPU's name."""
    vnni: bool
    """Whether it multiplies eight-bit integers without saturating."""
    cpu_flags: list[str] = []
    """The CPU's flags that decide how integers and floats are multiplied."""
    onnxruntime: str
    """The version of ONNX Runtime."""


class ReportLocation(Document):
    """Where the report of a CompressionJob lies."""

    html: str
    """The page with tables and plots."""
    json_: Annotated[str, Field(alias="json")]
    """The same for programs."""
