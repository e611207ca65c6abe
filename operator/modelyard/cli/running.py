"""``modelyard run``: from a file to objects at rest."""

import os
from pathlib import Path

from rich.console import Console

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.cli.display import Display, label
from modelyard.cli.errors import BadInput
from modelyard.cli.files import KINDS_BY_NAME, read
from modelyard.cli.session import Bodies, Interrupted, Session, admit, attended
from modelyard.cli.summary import chain_table, compression_table
from modelyard.cli.verdict import status_of, verdict
from modelyard.clusters.process.cluster import Change
from modelyard.clusters.process.lock import owned
from modelyard.clusters.process.store import ObjectStore

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


async def run(file: Path, state: Path, *, keep: bool, port: int | None) -> int:
    """Run the objects of ``file``; returns the exit code. Raises BadInput and Busy before anything is written."""
    console = report_console()
    bodies = read(file)
    admit(bodies, ObjectStore(state / "objects"))  # a mistake disturbs nothing that runs
    with attended(state) as attendance:
        session = Session(state, _ports(bodies, port))
        submitted = session.submit(bodies)
        keys = [key for key, _ in submitted if key.kind in KINDS_BY_NAME]
        _announce(console, submitted, session.bodies(keys))
        attendance.goes_on |= keep
        try:
            with Display(console) as display:
                found = await session.until_at_rest(keys, display.update, keep=attendance.goes_on)
        except Interrupted:
            attendance.goes_on = False
            console.print("stopped; run the same command to go on from the last checkpoint")
            return EXIT_INTERRUPTED
        attendance.goes_on = attendance.goes_on and session.runs()
        _conclude(console, state, found)
    if attendance.goes_on:
        console.print("what runs goes on in the background; `modelyard stop` ends it")
    elif any(key.kind == "ModelService" for key in keys):
        console.print("services stopped; `--keep` leaves them running")
    return EXIT_DONE if all(verdict(body) == "good" for _, body in found) else EXIT_FAILED


async def supervise(state: Path, ready_fd: int) -> None:
    """Keep the cluster of ``state`` going until somebody takes over; write a byte to ``ready_fd`` once it goes."""

    def ready() -> None:
        os.write(ready_fd, b"1")
        os.close(ready_fd)

    with owned(state, background=True):
        await Session(state).until_told(ready)


def report_console(width: int = 140) -> Console:
    """A console for texts of others: nothing in them is markup, and no table is broken where nobody looks."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=width)


def _ports(bodies: list[JsonObject], port: int | None) -> dict[str, int]:
    """The local port asked for, by Service name. Raises BadInput unless it is clear which service it is for."""
    if port is None:
        return {}
    names = [
        str(metadata.get("name"))
        for body in bodies
        if body.get("kind") == "ModelService" and isinstance(metadata := body.get("metadata"), dict)
    ]
    if len(names) != 1:
        raise BadInput(f"--port: the file has {len(names)} ModelServices; the option needs exactly one")
    return {names[0]: port}


def _announce(console: Console, submitted: list[tuple[ObjectKey, Change]], found: Bodies) -> None:
    states = {key: status_of(body).state for key, body in found}
    for key, change in submitted:
        name = label(key) if key.kind in KINDS_BY_NAME else f"{key.kind.lower()}/{key.name}"
        state = f" ({states[key]})" if change == "unchanged" and states.get(key) else ""
        console.print(f"{name} {change}{state}")


def _conclude(console: Console, state: Path, found: Bodies) -> None:
    console.print()
    console.print(chain_table(found))
    compression = compression_table(found)
    if compression is not None:
        console.print()
        console.print(compression)
    console.print()
    for key, body in found:
        if verdict(body) == "bad":
            status = status_of(body)
            console.print(f"{label(key)}: {status.state}: {status.message}", style="red", soft_wrap=True)
            console.print(f"  see `modelyard logs {label(key)}`")
        status_body = body.get("status")
        report = status_body.get("report") if isinstance(status_body, dict) else None
        if isinstance(report, dict):
            path = str(report.get("html")).replace("pvc://", f"{state / 'volumes'}/", 1)
            console.print(f"report: {path}", soft_wrap=True)
        if key.kind == "ModelService" and verdict(body) == "good" and isinstance(status_body, dict):
            console.print(f"service: {status_body.get('url')}/v2/models/{key.name}", soft_wrap=True)
