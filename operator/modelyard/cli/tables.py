"""Objects as tables, with the columns that ``kubectl get`` would show."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue
from rich.table import Table

from modelyard.api.conditions import parse_timestamp
from modelyard.api.metadata import JsonObject, KubeObject
from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind, PrinterColumn


def object_table(kind: Kind[Resource], bodies: Sequence[JsonObject], now: datetime, *, wide: bool) -> Table:
    """One row an object."""
    columns = [column for column in kind.columns if wide or column.priority == 0]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NAME", *(column.name.upper() for column in columns)):
        table.add_column(title, overflow="fold")
    for body in bodies:
        name = KubeObject.model_validate(body).metadata.name
        table.add_row(f"{kind.singular}/{name}", *(cell(body, column, now) for column in columns))
    return table


def cell(body: JsonObject, column: PrinterColumn, now: datetime) -> str:
    """The text of one cell; empty where the field is absent."""
    value: JsonValue = body
    for part in column.json_path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return ""
    return age(str(value), now) if column.type == "date" else str(value)


def age(moment: str, now: datetime) -> str:
    """How long ago, as kubectl says it."""
    seconds = max(0, int((now - parse_timestamp(moment)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
