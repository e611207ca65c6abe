"""The table at the end of a run: accuracy, size and latency before and after, digests, seconds. Pure."""

from collections.abc import Sequence

from rich.table import Table

from modelyard.api.conditions import parse_timestamp
from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.cli.display import label
from modelyard.cli.files import KINDS_BY_NAME
from modelyard.contract.compression import Measurement
from modelyard.contract.digest import short
from modelyard.kinds.compressionjob.model import CompressionJob
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.trainingjob.model import TrainingJob


def chain_table(objects: Sequence[tuple[ObjectKey, JsonObject]]) -> Table:
    """One row an object: its state, the digest that it hands on, where that came from, and how long it took."""
    table = Table("OBJECT", "STATE", "DIGEST", "FROM", "SECONDS", box=None, pad_edge=False, header_style="bold")
    for key, body in objects:
        resource = KINDS_BY_NAME[key.kind].model.model_validate(body)
        digest, parent = _digests(resource)
        table.add_row(label(key), resource.status.state, digest, parent, _seconds(resource))
    return table


def compression_table(objects: Sequence[tuple[ObjectKey, JsonObject]]) -> Table | None:
    """Each compressed model beside its source, or None where nothing was measured."""
    table = Table(
        "JOB", "MODEL", "ACCURACY", "SIZE", "LATENCY p50", "LATENCY p99", "SPEEDUP",
        box=None, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for key, body in objects:
        if key.kind != "CompressionJob":
            continue
        status = CompressionJob.model_validate(body).status
        if status.baseline is not None:
            table.add_row(key.name, "source, fp32", *_measured(status.baseline), "1.00x")
        if status.selected is not None:
            speedup = f"{float(status.selected.speedup):.2f}x"
            table.add_row(key.name, status.selected.trial, *_measured(status.selected), speedup)
    return table if table.row_count else None


def _measured(measured: Measurement) -> tuple[str, str, str, str]:
    return (
        f"{float(measured.accuracy):.4f}",
        f"{measured.size_bytes / 1024:,.0f} KiB",
        f"{1000 * float(measured.latency_p50_milliseconds):,.0f} µs",
        f"{1000 * float(measured.latency_p99_milliseconds):,.0f} µs",
    )


def _digests(resource: Resource) -> tuple[str, str]:
    match resource:
        case TrainingJob():
            code = resource.status.resolved.code_digest if resource.status.resolved else None
            own = resource.status.artifact.digest if resource.status.artifact else ""
            return short(own), f"code {short(code)}" if code else ""
        case CompressionJob():
            own = resource.status.artifact.digest if resource.status.artifact else ""
            return short(own), short(resource.status.source.digest) if resource.status.source else ""
        case ModelService():
            digest = resource.status.stable.digest if resource.status.stable else ""
            return "", short(digest)
        case _:
            return "", ""


def _seconds(resource: Resource) -> str:
    """Of a job from start to end, of a service from the making of its revision to all pods ready."""
    start, end = resource.status.start_time, resource.status.completion_time
    if isinstance(resource, ModelService) and resource.status.stable is not None:
        start, end = resource.status.stable.start_time, resource.status.stable.ready_time
    if start is None or end is None:
        return ""
    seconds = int((parse_timestamp(end) - parse_timestamp(start)).total_seconds())
    return str(seconds) if seconds > 0 else "<1"
