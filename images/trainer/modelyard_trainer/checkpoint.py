"""Checkpoints that count only once they are whole: written aside, committed with their digests, renamed."""

import shutil
from collections.abc import Iterator, Mapping
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
from modelyard.storage.disk import flush, storage_error
from modelyard.storage.errors import StorageError
from modelyard_trainer.console import say

STATE_FILE = "state.pt"
COMMIT_FILE = "commit.json"
_STEP = "step-"
_PARTIAL = ".partial-"


class Commit(Document):
    """``commit.json``. Its digest is the checkpoint's digest."""

    step: int
    job_uid: str
    attempt: int
    files: list[FileEntry]

    @property
    def digest(self) -> Digest:
        """sha256 of this document in canonical JSON."""
        return digest_of_json(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one job, under ``<uri>/<job uid>/step-<8 digits>``."""

    folder: Path
    """Where ``uri`` lies in this pod."""
    uri: str
    job_uid: str
    attempt: int
    keep_latest: int

    def commit(self, step: int, state: Mapping[str, object]) -> CheckpointReport:
        """Write ``state`` as the checkpoint of ``step``, flushed to the disk, and delete all but the newest few.

        Only one process may do so at a time. Checkpoints beyond ``step`` go too: they were damaged, or belong to a run
        that was started again. Raises ValueError if the state could not be loaded again, and StorageError (StorageFull,
        CheckpointFailed); nothing is left behind then.
        """
        mine = self.folder / self.job_uid
        partial = mine / f"{_PARTIAL}{step:08d}"
        try:
            mine.mkdir(parents=True, exist_ok=True)
            self._remove_partial()
            partial.mkdir()
            _write(partial / STATE_FILE, state)
            _check_loadable(partial / STATE_FILE)
            commit = Commit(step=step, job_uid=self.job_uid, attempt=self.attempt, files=[_entry(partial / STATE_FILE)])
            (partial / COMMIT_FILE).write_text(commit.to_json())
            for path in (partial / STATE_FILE, partial / COMMIT_FILE, partial):
                flush(path)
            target = self._path(step)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            flush(mine)
            self._prune(step)
        except OSError as error:
            raise storage_error(error, self._uri(step), mine, "CheckpointFailed") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return CheckpointReport(step=step, uri=self._uri(step), digest=commit.digest)

    def newest(self) -> CheckpointReport | None:
        """The newest checkpoint whose every byte is as committed; each damaged one on the way is printed."""
        for step in sorted(self._steps(), reverse=True):
            try:
                return CheckpointReport(step=step, uri=self._uri(step), digest=self._verified(step).digest)
            except StorageError as error:
                say(f"modelyard: skipped a damaged checkpoint: {error}")
        return None

    def load(self, step: int, device: torch.device) -> dict[str, Any]:
        """The state of a committed step, tensors on ``device``, and the step as ``step``. Raises StorageError."""
        self._verified(step)
        state: dict[str, Any] = torch.load(self._path(step) / STATE_FILE, map_location=device, weights_only=True)
        return {"step": step, **state}

    def _verified(self, step: int) -> Commit:
        folder, uri = self._path(step), self._uri(step)
        try:
            commit = Commit.model_validate_json((folder / COMMIT_FILE).read_bytes())
            damaged = [file.path for file in commit.files if digest_of_file(folder / file.path) != file.digest]
        except OSError as error:
            raise StorageError("CheckpointMissing", f"{uri}: {error.strerror}") from error
        except ValidationError as error:
            raise StorageError("DigestMismatch", f"{uri}/{COMMIT_FILE} is not a commit") from error
        if (commit.step, commit.job_uid) != (step, self.job_uid):
            raise StorageError("DigestMismatch", f"{uri} holds step {commit.step} of job {commit.job_uid}")
        if damaged:
            raise StorageError("DigestMismatch", f"{uri}/{damaged[0]} was changed after the commit")
        return commit

    def _prune(self, newest: int) -> None:
        steps = sorted(self._steps(), reverse=True)
        kept = [step for step in steps if step <= newest][: self.keep_latest]
        for step in set(steps) - set(kept):
            shutil.rmtree(self._path(step), ignore_errors=True)

    def _remove_partial(self) -> None:
        for path in (self.folder / self.job_uid).glob(f"{_PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _steps(self) -> Iterator[int]:
        for path in (self.folder / self.job_uid).glob(f"{_STEP}*"):
            number = path.name.removeprefix(_STEP)
            if number.isdecimal():
                yield int(number)

    def _path(self, step: int) -> Path:
        return self.folder / self.job_uid / f"{_STEP}{step:08d}"

    def _uri(self, step: int) -> str:
        return f"{self.uri.rstrip('/')}/{self.job_uid}/{_STEP}{step:08d}"


def _write(path: Path, state: Mapping[str, object]) -> None:
    try:
        with path.open("wb") as stream:
            torch.save(dict(state), stream)
    except RuntimeError as error:
        # After a failed write torch also fails to end its archive, and that error hides the first.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _check_loadable(path: Path) -> None:
    try:
        torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except UnpicklingError as error:
        raise ValueError(
            "run.checkpoint takes state_dicts, tensors, numbers, strings, lists and dicts, since a checkpoint is never "
            f"unpickled: {str(error).splitlines()[0]}"
        ) from error


def _entry(path: Path) -> FileEntry:
    return FileEntry(path=path.name, size_bytes=path.stat().st_size, digest=digest_of_file(path))
