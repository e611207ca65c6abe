"""Whether a failure may pass by itself, and what is remembered of the one before."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from modelyard.contract import layout
from modelyard.contract.reports import FINAL_REASONS, InPlace, ProgressReport, replace_file
from modelyard_trainer import inputs
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.workspace import Workspace

STARTING = "Starting"
RESTARTING = "Restarting"
"""The stage between the end of the ranks and their first report."""
_RANK = re.compile(r"^rank \d+", re.MULTILINE)


_writing = threading.Lock()


def may_pass(cause: RankFailure, *, repeats: bool) -> bool:
    """Whether the ranks may do better when they start again.

    Not if the failure is one that only an edit mends, nor if the script raised the same error as the last time with no
    newer checkpoint in between (``repeats``): then the attempt ends at once, and another node may be tried.
    """
    return cause.reason not in FINAL_REASONS and not (cause.raised and repeats)


def without_rank(message: str) -> str:
    """The message of a failure as it would read on any rank."""
    return _RANK.sub("rank", message)


def newest_checkpoint(work: Workspace) -> int:
    """The step of the checkpoint in this pod's progress file, 0 without one."""
    report = progress(work)
    return 0 if report is None or report.checkpoint is None else report.checkpoint.step


def progress(work: Workspace) -> ProgressReport | None:
    """The newest report of rank 0, if it runs here."""
    path = work.root / layout.PROGRESS_FILE
    return ProgressReport.model_validate_json(path.read_bytes()) if path.is_file() else None


def begin(work: Workspace, world_size: int, in_place: InPlace | None) -> None:
    """Write that ranks start, for the first time or again, into the progress file, which keeps all else there."""
    stage = STARTING if in_place is None else RESTARTING
    change(
        work,
        lambda report: report.model_copy(
            update={
                "stage": stage,
                "in_place": in_place,
                "world_size": world_size,
                "inputs": inputs.fetched(work),
                "time": now(),
            }
        ),
    )


def change(work: Workspace, make: Callable[[ProgressReport], ProgressReport]) -> None:
    """Replace the progress file by what ``make`` makes of it; of an empty report where there is none."""
    with _writing:
        report = progress(work) or ProgressReport(stage=STARTING, time=now())
        replace_file(work.root / layout.PROGRESS_FILE, make(report).to_json())


def now() -> str:
    """RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
