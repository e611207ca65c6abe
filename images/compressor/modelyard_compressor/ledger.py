"""What was tried before this pod began? Finished trials lie below the output, and are not tried again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from modelyard.contract.base import Document
from modelyard.contract.digest import digest_of_json, short
from modelyard.storage.errors import StorageError
from modelyard.storage.store import Store
from modelyard_compressor import model_files
from modelyard_compressor.accuracy import Scores
from modelyard_compressor.executed import Execution
from modelyard_compressor.trials import Trial

_RECORD = "trial.json"
_BEGUN = "begun.json"
_MODEL = "model.onnx"
_SCORES = "scores.npy"
_THERE = "there"
_THROUGH = "through"
_MOST_EXCUSES = 16


class Record(Document):
    """How a trial ended."""

    trial: Trial
    excluded: list[str] = []
    """Nodes left in float for the accuracy gate."""
    execution: Execution | None = None
    """Absent where the trial is infeasible."""
    error: str | None = None


class _Begun(Document):
    times: int = 0
    excused: int = 0


@dataclass(frozen=True)
class Finished:
    """A trial from an earlier pod. The model and its scores are absent where it was infeasible."""

    record: Record
    model: Path | None = None
    scores: Scores | None = None


class Ledger:
    """The finished trials of one job, each under the digest of all that its result depends on."""

    def __init__(self, folder: Store, context: JsonValue) -> None:
        self._folder = folder
        self._context = context

    def find(self, trial: Trial, scratch: Path) -> Finished | None:
        """The trial's result, its model copied into ``scratch``. Raises StorageError."""
        place = self._place(trial)
        if not place.has(_RECORD):
            return None
        record = Record.model_validate_json(place.fetch(_RECORD).read_bytes())
        if record.error is not None:
            return Finished(record)
        model = scratch / f"{trial.name}.onnx"
        kept = place.fetch(_MODEL)
        if place.has(model_files.data_file(kept).name):
            place.fetch(model_files.data_file(kept).name)
        model_files.copy(kept, model)
        return Finished(record, model, np.load(place.fetch(_SCORES), allow_pickle=False))

    def begin(self, trial: Trial) -> int:
        """Note that the trial begins; returns how often it began before, never ended and is not excused.

        Raises StorageError.
        """
        before = self._begun(trial)
        self._note(trial, _Begun(times=before.times + 1, excused=before.excused))
        return before.times - before.excused

    def excuse(self, trial: Trial) -> None:
        """Note that the trial ended because the pod was told to, as by a suspension. Raises StorageError.

        Not without limit: a node that runs out of memory tells its pods to end, too.
        """
        before = self._begun(trial)
        self._note(trial, _Begun(times=before.times, excused=min(before.excused + 1, _MOST_EXCUSES)))

    def keep(self, record: Record, model: Path | None = None, scores: Scores | None = None) -> None:
        """Keep a result; a pod that is killed meanwhile leaves none. Raises StorageError."""
        with self._place(record.trial).staged(_RECORD, replace=True) as staging:
            if model is not None and scores is not None:
                model_files.copy(model, staging / _MODEL)
                np.save(staging / _SCORES, scores, allow_pickle=False)
            (staging / _RECORD).write_text(record.to_json())

    def there(self, share: int) -> None:
        """Note that the pod of that index has begun. Raises StorageError."""
        self._mark(share, _THERE)

    def is_there(self, share: int) -> bool:
        """Whether the pod of that index ever began. Raises StorageError."""
        return self._folder_of(share, _THERE).has(_THERE)

    def through(self, share: int) -> None:
        """Note that the pod of that index is through its part of the trials. Raises StorageError."""
        self._mark(share, _THROUGH)

    def is_through(self, share: int) -> bool:
        """Whether the pod of that index is through its part. Raises StorageError."""
        return self._folder_of(share, _THROUGH).has(_THROUGH)

    def clear(self) -> None:
        """Forget all trials, once the job has its result. What cannot be deleted now is only room lost."""
        try:
            self._folder.remove()
        except StorageError:
            return

    def _mark(self, share: int, name: str) -> None:
        with self._folder_of(share, name).staged(name, replace=True) as staging:
            (staging / name).touch()

    def _folder_of(self, share: int, name: str) -> Store:
        return self._folder / f"share-{share}-{name}"

    def _begun(self, trial: Trial) -> _Begun:
        place = self._begun_place(trial)
        return _Begun.model_validate_json(place.fetch(_BEGUN).read_bytes()) if place.has(_BEGUN) else _Begun()

    def _note(self, trial: Trial, begun: _Begun) -> None:
        with self._begun_place(trial).staged(_BEGUN, replace=True) as staging:
            (staging / _BEGUN).write_text(begun.to_json())

    def _begun_place(self, trial: Trial) -> Store:
        return self._folder / f"{self._place_name(trial)}-begun"

    def _place(self, trial: Trial) -> Store:
        return self._folder / self._place_name(trial)

    def _place_name(self, trial: Trial) -> str:
        plain = {"start"} if trial.start is None else set()
        return short(digest_of_json([self._context, trial.model_dump(mode="json", exclude=plain)]))
