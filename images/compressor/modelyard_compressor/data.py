"""Which samples calibrate, and which evaluate? Two files that must not be one."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard.contract.artifact import CALIBRATION_FILE, EVALUATION_FILE, LABELS
from modelyard.contract.base import Document
from modelyard.contract.digest import Digest, digest_of_file
from modelyard.contract.runs import DataRun
from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.store import fetch_file
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.sessions import Tensor
from modelyard_compressor.source import Source

Role = Literal["calibration", "evaluation"]

DEFAULT_FILES: dict[Role, str] = {"calibration": CALIBRATION_FILE, "evaluation": EVALUATION_FILE}
"""In the source artefact, where the spec names none."""


class DataOrigin(Document):
    """Where samples came from."""

    uri: str
    digest: Digest
    samples: int


@dataclass(frozen=True)
class DataSet:
    """Samples in memory: arrays by input name, all equally long, samples first."""

    origin: DataOrigin
    inputs: dict[str, Tensor]
    labels: Tensor | None

    def __len__(self) -> int:
        return self.origin.samples

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of each input for a batch so large."""
        return {name: (batch, *array.shape[1:]) for name, array in self.inputs.items()}

    def rows(self, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """The inputs of those samples, contiguous."""
        return {name: np.ascontiguousarray(array[indices]) for name, array in self.inputs.items()}

    def batches(self, size: int, *, exact: bool) -> Iterator[tuple[dict[str, Tensor], int]]:
        """All samples in order, and how many of each batch count: an ``exact`` last batch is filled with repeats."""
        for start in range(0, len(self), size):
            count = min(size, len(self) - start)
            length = size if exact else count
            yield self.rows(np.minimum(np.arange(start, start + length), len(self) - 1)), count


def read_data(role: Role, asked: DataRun | None, source: Source, dtypes: dict[str, str]) -> DataSet | None:
    """The samples for ``role``; None where none were asked for and the source artefact carries none.

    ``dtypes`` names each input of the model and its numpy dtype. Raises StorageError (DataMissing, DigestMismatch,
    what ``fetch_file`` raises) and CompressionError (DataUnreadable, DataMismatch), both naming the spec's field.
    """
    field = f"spec.data.{role}"
    if asked is not None:
        path, uri = _fetched(asked, field), asked.uri
        digest = digest_of_file(path)
    else:
        entry = source.manifest.file(DEFAULT_FILES[role])
        if entry is None:
            return None
        path, uri, digest = source.directory / entry.path, f"{source.reference.uri}/{entry.path}", entry.digest
    arrays = _load(path, field)
    inputs = _model_inputs(arrays, dtypes, field)
    samples = len(next(iter(inputs.values())))
    return DataSet(DataOrigin(uri=uri, digest=digest, samples=samples), inputs, arrays.get(LABELS))


def _fetched(asked: DataRun, field: str) -> Path:
    try:
        return fetch_file(asked.uri, asked.secret, asked.digest)
    except MissingError as error:
        raise StorageError("DataMissing", f"{field}: there is no file {asked.uri}") from error
    except StorageError as error:
        raise StorageError(error.reason, f"{field}: {error}") from error


def shared_samples(calibration: DataSet, evaluation: DataSet) -> int:
    """How many evaluation samples calibration also holds.

    Raises CompressionError (CalibrationEqualsEvaluation) where it holds every one: then the measured drop would be
    that of data which chose the quantization ranges.
    """
    known = set(_sample_digests(calibration))
    shared = sum(digest in known for digest in _sample_digests(evaluation))
    if shared == len(evaluation):
        raise CompressionError(
            "CalibrationEqualsEvaluation",
            f"spec.data.calibration: {calibration.origin.uri} holds every sample of the evaluation set "
            f"{evaluation.origin.uri}; calibrate with other samples, for example from the training set",
        )
    return shared


def _load(path: Path, field: str) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CompressionError(
            "DataUnreadable", f"{field}: {path.name} is not an .npz file of plain arrays ({error}); use numpy.savez"
        ) from error


def _model_inputs(arrays: dict[str, Tensor], dtypes: dict[str, str], field: str) -> dict[str, Tensor]:
    for name, dtype in dtypes.items():
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "none"
            raise CompressionError("DataMismatch", f"{field}: no array for the model's input {name!r} (found: {found})")
        if str(arrays[name].dtype) != dtype:
            raise CompressionError(
                "DataMismatch", f"{field}: array {name!r} is {arrays[name].dtype}, the model's input is {dtype}"
            )
    named = [*dtypes, *([LABELS] if LABELS in arrays else [])]
    lengths = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in named}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise CompressionError("DataMismatch", f"{field}: arrays must hold equally many samples, found {lengths}")
    return {name: arrays[name] for name in dtypes}


def _sample_digests(data: DataSet) -> Iterator[bytes]:
    for index in range(len(data)):
        digest = blake2b(digest_size=16)
        for name in sorted(data.inputs):
            digest.update(np.ascontiguousarray(data.inputs[name][index]).tobytes())
        yield digest.digest()
