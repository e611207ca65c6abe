"""What ``run`` shows while it works: a live table on a terminal, a line a change elsewhere."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.cli.files import KINDS_BY_NAME
from modelyard.cli.verdict import status_of, verdict

STYLES = {"working": "cyan", "good": "green", "bad": "red"}


def label(key: ObjectKey) -> str:
    """``trainingjob/digits``."""
    return f"{KINDS_BY_NAME[key.kind].singular}/{key.name}"


def share_done(body: JsonObject) -> float | None:
    """The share of steps done, 0 to 1, where the object's progress says so."""
    status = body.get("status")
    progress = status.get("progress") if isinstance(status, dict) else None
    if not isinstance(progress, dict):
        return None
    step, total = progress.get("step"), progress.get("totalSteps")
    return min(1.0, step / total) if isinstance(step, int) and isinstance(total, int) and total > 0 else None


def detail(body: JsonObject) -> str:
    """Message, and the newest metrics while a job runs."""
    text = status_of(body).message
    status = body.get("status")
    progress = status.get("progress") if isinstance(status, dict) else None
    if verdict(body) != "working" or not isinstance(progress, dict):
        return text
    parts = [text, f"step {progress.get('step')}"]
    metrics = progress.get("metrics")
    named = [each for each in metrics if isinstance(each, dict)] if isinstance(metrics, list) else []
    parts.extend(f"{metric.get('name')} {metric.get('value')}" for metric in named)
    if progress.get("etaSeconds") is not None:
        parts.append(f"{progress['etaSeconds']} s left")
    return ", ".join(parts)


class Display:
    """Shows the objects of a run. Use as a context manager; call ``update`` with their newest bodies."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._lines: dict[ObjectKey, str] = {}
        self._quarters: dict[ObjectKey, int] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def update(self, objects: Sequence[tuple[ObjectKey, JsonObject]]) -> None:
        """Show the newest bodies."""
        for key, body in objects:
            self._say(key, body)
        if self._live is not None:
            self._live.update(self._table(objects))

    def _table(self, objects: Sequence[tuple[ObjectKey, JsonObject]]) -> RenderableType:
        table = Table(box=None, pad_edge=False, show_header=False, expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=10)
        table.add_column(width=24)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for key, body in objects:
            look = STYLES[verdict(body)]
            share = 1.0 if verdict(body) == "good" else share_done(body)
            bar = ProgressBar(total=1.0, completed=share or 0.0, width=24, complete_style=look, finished_style=look)
            state = Text(status_of(body).state or "Pending", style=look)
            table.add_row(label(key), state, bar if share is not None else "", detail(body))
        return Group(table, Text(f"{time.monotonic() - self._start:.0f} s", style="dim"))

    def _say(self, key: ObjectKey, body: JsonObject) -> None:
        """A line for each change of state, and for each quarter of the steps."""
        status = status_of(body)
        share = share_done(body)
        quarter = int(4 * share) if share is not None and verdict(body) == "working" else 0
        line = f"{status.state or 'Pending'}: {status.message}" if status.message else status.state or "Pending"
        new_quarter = quarter > self._quarters.get(key, 0)
        self._quarters[key] = quarter
        if line == self._lines.get(key) and not new_quarter:
            return
        self._lines[key] = line
        if self._live is None:
            text = f"{status.state}: {detail(body)}" if new_quarter else line
            self._console.print(f"{time.monotonic() - self._start:6.1f} s  {label(key)}  {text}", soft_wrap=True)
