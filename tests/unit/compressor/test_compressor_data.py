"""What calibration and evaluation files must hold."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from modelyard.contract.artifact import ArtifactReference, Lineage, Manifest
from modelyard.contract.runs import DataRun
from modelyard.storage.errors import StorageError
from modelyard_compressor.data import DataOrigin, DataSet, read_data, shared_samples
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.source import Source

DIGEST = "sha256:" + "0" * 64
SOURCE = Source(
    ArtifactReference(uri="pvc://models/digits", digest=DIGEST),
    Path("/nowhere"),
    Manifest(
        files=[],
        inputs=[],
        outputs=[],
        metrics={},
        frameworks={},
        lineage=Lineage(kind="TrainingJob", name="digits", namespace="default", spec_digest=DIGEST),
    ),
)


def data(*samples: float) -> DataSet:
    origin = DataOrigin(uri="pvc://data/set.npz", digest=DIGEST, samples=len(samples))
    return DataSet(origin, {"x": np.array(samples, np.float32).reshape(-1, 1)}, None)


def read(path: Path) -> DataSet | None:
    return read_data("evaluation", DataRun(uri=f"file://{path}"), SOURCE, {"x": "float32"})


def test_samples_in_another_order_are_the_same_samples() -> None:
    with pytest.raises(CompressionError, match="calibrate with other samples") as caught:
        shared_samples(calibration=data(3, 1, 2, 4), evaluation=data(1, 2, 3))
    assert caught.value.reason == "CalibrationEqualsEvaluation"


def test_a_few_shared_samples_are_counted() -> None:
    assert shared_samples(calibration=data(1, 2, 3), evaluation=data(3, 4, 5)) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((2, 1), np.float32)}, r"no array for the model's input 'x' \(found: y\)"),
        ({"x": np.zeros((2, 1))}, "array 'x' is float64, the model's input is float32"),
        ({"x": np.zeros((2, 1), np.float32), "labels": np.zeros(3)}, "equally many samples"),
        ({"x": np.zeros((0, 1), np.float32)}, "equally many samples"),
    ],
)
def test_arrays_that_do_not_fit_name_the_field(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.generic]], message: str
) -> None:
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays)

    with pytest.raises(CompressionError, match=f"^spec.data.evaluation: .*{message}") as caught:
        read(tmp_path / "set.npz")
    assert caught.value.reason == "DataMismatch"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(content)

    with pytest.raises(CompressionError, match=r"use numpy.savez") as caught:
        read(tmp_path / "set.npz")
    assert caught.value.reason == "DataUnreadable"


def test_a_single_array_is_not_an_npz(tmp_path: Path) -> None:
    with (tmp_path / "set.npz").open("wb") as file:
        np.save(file, np.zeros((2, 1), np.float32))

    with pytest.raises(CompressionError, match=r"use numpy.savez"):
        read(tmp_path / "set.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=np.array([{}, {}], dtype=object))

    with pytest.raises(CompressionError, match="plain arrays"):
        read(tmp_path / "set.npz")


def test_a_missing_file_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^spec.data.evaluation: there is no file"):
        read(tmp_path / "set.npz")


def test_batches_hold_every_sample_in_order() -> None:
    batches = [(feed["x"].ravel().tolist(), count) for feed, count in data(1, 2, 3).batches(2, exact=False)]

    assert batches == [([1, 2], 2), ([3], 1)]


def test_an_exact_last_batch_is_filled_with_repeats_that_do_not_count() -> None:
    batches = [(feed["x"].ravel().tolist(), count) for feed, count in data(1, 2, 3).batches(2, exact=True)]

    assert batches == [([1, 2], 2), ([3, 3], 1)]
