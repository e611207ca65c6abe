"""Checkpoints that count only once they are whole: written aside, with their digests, and put into place at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import ValidationError

from modelyard.contract.artifact import FileEntry
from modelyard.contract.base import Document
from modelyard.contract.digest import Digest, digest_of_file, digest_of_json
from modelyard.contract.reports import CheckpointReport
from modelyard.contract.runs import Objective
from modelyard.storage.disk import storage_error
from modelyard.storage.errors import ACCESS_REASONS, MissingError, StorageError
from modelyard.storage.local import PARTIAL
from modelyard.storage.store import Store
from modelyard_trainer import shards
from modelyard_trainer.console import say
from modelyard_trainer.shards import Part, ShardEntry

STATE_FILE = "state.pt"
COMMIT_FILE = "commit.json"
_STEP = "step-"


class Commit(Document):
    """``commit.json``. Its digest is the checkpoint's digest."""

    step: int
    job_uid: str
    attempt: int
    files: list[FileEntry]
    metric: float | None = None
    """The objective's metric as last reported before."""
    best: float | None = None
    """The best value of that metric up to then, over all attempts."""

    @property
    def digest(self) -> Digest:
        """sha256 of this document in canonical JSON."""
        return digest_of_json(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one job, under ``<store>/<job uid>/step-<8 digits>``."""

    store: Store
    job_uid: str
    attempt: int
    keep_latest: int
    keep_best: int = 0
    objective: Objective | None = None
    elsewhere: tuple[Store, Digest] | None = None
    """A checkpoint of another job, by the digest of its commit, to start from."""

    def commit(
        self, step: int, state: Mapping[str, object], metric: float | None = None, best: float | None = None
    ) -> CheckpointReport:
        """Write ``state`` as the checkpoint of ``step``; once it is stored, delete all but the newest few and the best.

        Only one process may do so at a time. Checkpoints beyond ``step`` go too: they were damaged, or belong to a run
        that was started again. Raises ValueError if the state could not be loaded again, and StorageError (StorageFull,
        CheckpointFailed, what the storage raises); nothing that counts is left behind then.
        """
        place = self._at(step)
        with _storing(place):
            self._remove_partial()
            with place.staged(COMMIT_FILE, replace=True) as staging:
                _write(staging / STATE_FILE, state)
                made = self._commit_of(step, [_entry(staging / STATE_FILE, STATE_FILE)], metric, best)
                (staging / COMMIT_FILE).write_text(made.to_json())
            self._prune(step)
        return CheckpointReport(step=step, uri=place.uri, digest=made.digest)

    def write_part(self, step: int, part: Part, rank: int) -> ShardEntry:
        """Write one rank's part of the state of ``step``, which counts once ``commit_parts`` says so.

        Raises StorageError, as ``commit`` does.
        """
        place = self._at(step)
        name = f"shard-{self.attempt}-{rank:05d}.safetensors"
        with _storing(place), place.put(name) as path:
            shards.write(part, path)
            return ShardEntry(file=_entry(path, name), boxes=part.boxes)

    def commit_parts(
        self, step: int, frame: object, parts: Sequence[ShardEntry], metric: float | None, best: float | None
    ) -> CheckpointReport:
        """Have the parts that the ranks wrote count as the checkpoint of ``step``. Otherwise as ``commit``."""
        place = self._at(step)
        with _storing(place):
            self._remove_partial()
            with place.put(STATE_FILE) as path:
                _write(path, {"frame": frame, "chunks": shards.index(parts)})
                state = _entry(path, STATE_FILE)
            made = self._commit_of(step, [state, *(part.file for part in parts)], metric, best)
            with place.put(COMMIT_FILE) as path:
                path.write_text(made.to_json())
            self._prune(step)
        return CheckpointReport(step=step, uri=place.uri, digest=made.digest)

    def _commit_of(self, step: int, files: list[FileEntry], metric: float | None, best: float | None) -> Commit:
        return Commit(step=step, job_uid=self.job_uid, attempt=self.attempt, files=files, metric=metric, best=best)

    def newest(self) -> CheckpointReport | None:
        """The newest checkpoint whose every byte is as committed; each damaged one on the way is printed."""
        for step in sorted(self._steps(), reverse=True):
            place = self._at(step)
            if not place.has(COMMIT_FILE):
                continue
            try:
                return CheckpointReport(step=step, uri=place.uri, digest=self._verified(place, step).digest)
            except StorageError as error:
                if error.reason in ACCESS_REASONS:
                    raise
                say(f"modelyard: skipped a damaged checkpoint: {error}")
        return None

    def start(self) -> CheckpointReport | None:
        """What this job starts from: its newest checkpoint, else the one of another job, if the spec names one.

        Raises StorageError where that one is not what its digest says.
        """
        if (own := self.newest()) is not None or self.elsewhere is None:
            return own
        place, digest = self.elsewhere
        commit = _commit(place)
        if commit.digest != digest:
            raise StorageError(
                "DigestMismatch",
                f"{place.uri}: expected the checkpoint {digest}, found {commit.digest}",
            )
        return CheckpointReport(step=commit.step, uri=place.uri, digest=digest)

    def load(
        self, chosen: CheckpointReport, device: torch.device, into: Mapping[str, object] | None = None
    ) -> tuple[dict[str, Any], Commit]:
        """The state of a checkpoint, tensors on ``device``, with its ``step``; and its commit.

        Sharded tensors are read into those of ``into``, of which only what this rank holds is read; others come whole.
        Raises StorageError, and ValueError where ``into`` does not fit.
        """
        place = self._at(chosen.step)
        if chosen.uri != place.uri:
            assert self.elsewhere is not None, "only the spec names a checkpoint elsewhere"
            place, _ = self.elsewhere
        commit = _commit(place)
        if commit.digest != chosen.digest:
            raise StorageError("DigestMismatch", f"{place.uri}: expected {chosen.digest}, found {commit.digest}")
        digests = {file.path: file.digest for file in commit.files}

        def fetch(name: str) -> Path:
            return _fetched(place, name, digests[name])

        state = torch.load(fetch(STATE_FILE), map_location=device, weights_only=True)
        if len(commit.files) > 1:
            state = shards.join(state["frame"], state["chunks"], fetch, device, into or {})
        return {"step": chosen.step, **state}, commit

    def _verified(self, place: Store, step: int) -> Commit:
        commit = _commit(place)
        if (commit.step, commit.job_uid) != (step, self.job_uid):
            raise StorageError("DigestMismatch", f"{place.uri} holds step {commit.step} of job {commit.job_uid}")
        for file in commit.files:
            _fetched(place, file.path, file.digest)
        return commit

    def _prune(self, newest: int) -> None:
        steps = sorted(self._steps(), reverse=True)
        committed = [step for step in steps if step <= newest and self._at(step).has(COMMIT_FILE)]
        for step in set(steps) - set(committed[: self.keep_latest]) - self._best(committed):
            self._at(step).remove()

    def _best(self, steps: Iterable[int]) -> set[int]:
        if self.keep_best == 0 or self.objective is None:
            return set()
        sign = -1 if self.objective.goal == "Minimize" else 1
        measured = [(sign * value, step) for step in steps if (value := _commit(self._at(step)).metric) is not None]
        return {step for _, step in sorted(measured, reverse=True)[: self.keep_best]}

    def _remove_partial(self) -> None:
        mine = self.store / self.job_uid
        for name in mine.folders():
            if name.startswith(PARTIAL):
                (mine / name).remove()

    def _steps(self) -> Iterator[int]:
        for name in (self.store / self.job_uid).folders():
            number = name.removeprefix(_STEP)
            if name.startswith(_STEP) and number.isdecimal():
                yield int(number)

    def _at(self, step: int) -> Store:
        return self.store / self.job_uid / f"{_STEP}{step:08d}"


def _commit(place: Store) -> Commit:
    try:
        return Commit.model_validate_json(place.fetch(COMMIT_FILE).read_bytes())
    except MissingError as error:
        raise StorageError("CheckpointMissing", str(error)) from error
    except ValidationError as error:
        raise StorageError("DigestMismatch", f"{place.uri}/{COMMIT_FILE} is not a commit") from error


def _fetched(place: Store, name: str, digest: Digest) -> Path:
    try:
        return place.fetch(name, digest)
    except MissingError as error:
        raise StorageError("CheckpointMissing", str(error)) from error


@contextmanager
def _storing(place: Store) -> Iterator[None]:
    """Raise a failing disk as StorageError: StorageFull, CheckpointFailed."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, place.uri, place.directory, "CheckpointFailed") from error


def _write(path: Path, state: Mapping[str, object]) -> None:
    """Write a state that can be loaded again. Raises ValueError for another, and OSError."""
    try:
        with path.open("wb") as stream:
            torch.save(dict(state), stream)
    except RuntimeError as error:
        # After a failed write torch also fails to end its archive, and that error hides the first.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    try:
        torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except UnpicklingError as error:
        raise ValueError(
            "run.checkpoint takes state_dicts, tensors, numbers, strings, lists and dicts, since a checkpoint is never "
            f"unpickled: {str(error).splitlines()[0]}"
        ) from error


def _entry(path: Path, name: str) -> FileEntry:
    return FileEntry(path=name, size_bytes=path.stat().st_size, digest=digest_of_file(path))
