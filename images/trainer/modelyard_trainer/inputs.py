"""Data and weights that a job names: fetched, verified, and found by the script under ``inputs/<name>``."""

import time
from collections.abc import Iterable
from pathlib import Path

from modelyard.contract import layout
from modelyard.contract.base import Document
from modelyard.contract.digest import digest_of_file, digest_of_json
from modelyard.contract.reports import InputReport
from modelyard.contract.runs import ArtifactPlace, InputRun
from modelyard.storage import uri
from modelyard.storage.artifacts import open_artifact
from modelyard.storage.disk import storage_error
from modelyard.storage.errors import StorageError
from modelyard.storage.store import Store, open_store
from modelyard_trainer.console import say
from modelyard_trainer.workspace import Workspace

_PASSING = frozenset({"StorageUnreachable", "StorageFailed"})
_PAUSES = (1.0, 5.0, 20.0)
"""Seconds before another try, which goes on where the last one broke off."""


class Fetched(Document):
    """``work/inputs.json``: what this pod has fetched."""

    inputs: list[InputReport] = []


def fetch(inputs: Iterable[InputRun], work: Workspace) -> list[InputReport]:
    """Put every input to ``inputs/<name>`` and return what they are.

    Raises StorageError: InputMissing, DigestMismatch (naming the input and both digests), and what the storage raises.
    """
    reports = []
    for asked in inputs:
        start = time.monotonic()
        report = _fetch(asked)
        say(
            f"modelyard: input {asked.name}: {report.size_bytes} bytes, {report.digest}, "
            f"in {time.monotonic() - start:.1f} s"
        )
        reports.append(report)
    work.inputs.write_text(Fetched(inputs=reports).to_json())
    return reports


def fetch_artifact(name: str, place: ArtifactPlace) -> None:
    """Put a published artefact to ``inputs/<name>``, every file verified. Raises what ``open_artifact`` raises."""
    directory, _ = open_artifact(place, place.secret)
    _link(name, place.uri, directory)


def fetched(work: Workspace) -> list[InputReport]:
    """What was fetched; nothing before."""
    return Fetched.model_validate_json(work.inputs.read_bytes()).inputs if work.inputs.is_file() else []


def path_of(name: str) -> Path:
    """Where the input ``name`` lies. Raises ValueError naming those that there are."""
    folder = layout.root() / layout.INPUTS
    path = folder / name
    if not path.exists() or path.parent != folder:
        there = ", ".join(sorted(found.name for found in folder.glob("*"))) or "none"
        raise ValueError(f"there is no input {name!r}; spec.inputs has: {there}")
    return path


def _fetch(asked: InputRun) -> InputReport:
    for pause in _PAUSES:
        try:
            return _fetch_once(asked)
        except StorageError as error:
            if error.reason not in _PASSING:
                raise
            say(f"modelyard: input {asked.name}: {error}; another try in {pause:g} s")
        time.sleep(pause)
    return _fetch_once(asked)


def _fetch_once(asked: InputRun) -> InputReport:
    folder = open_store(asked.uri, asked.secret)
    if names := folder.files():
        paths = {name: folder.fetch(name) for name in names}
        place = folder.directory
        digest = digest_of_json({name: digest_of_file(path) for name, path in paths.items()})
    else:
        place = _file(asked)
        paths = {place.name: place}
        digest = digest_of_file(place)
    if asked.digest is not None and digest != asked.digest:
        raise StorageError(
            "DigestMismatch",
            f"input {asked.name}: {asked.uri} has {digest}, but the spec asks for {asked.digest}; correct the "
            "digest if the data were changed on purpose",
        )
    _link(asked.name, asked.uri, place)
    return InputReport(name=asked.name, digest=digest, size_bytes=sum(path.stat().st_size for path in paths.values()))


def _file(asked: InputRun) -> Path:
    place = uri.parse(asked.uri)
    parent: Store = open_store(str(place.parent), asked.secret)
    if not place.name or not parent.has(place.name):
        raise StorageError("InputMissing", f"input {asked.name}: there is nothing at {asked.uri}; correct the uri")
    return parent.fetch(place.name)


def _link(name: str, source: str, place: Path) -> None:
    link = layout.root() / layout.INPUTS / name
    try:
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(place.resolve())
    except OSError as error:
        raise storage_error(error, source, link, "InputFailed") from error
