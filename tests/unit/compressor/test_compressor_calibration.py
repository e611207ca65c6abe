"""Calibration samples: which are drawn, and in what pieces they are handed out."""

from collections.abc import Iterator

import numpy as np
import pytest

from modelyard_compressor.calibration import CalibrationReader, choose
from modelyard_compressor.failures import CompressionError


def handed_out(reader: CalibrationReader) -> Iterator[list[float]]:
    """The samples as onnxruntime's ``quantize_static`` asks for them with CalibStridedMinMax."""
    for start in range(0, len(reader), reader.stride):
        reader.set_range(start_index=start, end_index=start + reader.stride)
        while item := reader.get_next():
            yield item["x"].ravel().tolist()


@pytest.mark.parametrize(("samples", "stride"), [(64, 4), (9, 3), (37, 1), (1, 1)])
def test_strides_hand_out_every_sample_once(samples: int, stride: int) -> None:
    reader = CalibrationReader({"x": np.arange(samples, dtype=np.float32).reshape(samples, 1)})

    assert reader.stride == stride
    assert list(handed_out(reader)) == [[float(sample)] for sample in range(samples)]


def test_a_model_with_a_fixed_batch_gets_whole_batches() -> None:
    reader = CalibrationReader({"x": np.arange(8, dtype=np.float32)}, batch=4)

    assert list(handed_out(reader)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_without_a_range_all_is_handed_out() -> None:
    reader = CalibrationReader({"x": np.arange(2, dtype=np.float32)})

    assert [reader.get_next() is not None for _ in range(3)] == [True, True, False]


def test_the_same_seed_draws_the_same_samples_and_none_twice() -> None:
    drawn = choose(available=1000, wanted=50, seed=7, batch=1)

    assert (drawn == choose(available=1000, wanted=50, seed=7, batch=1)).all()
    assert len(set(drawn.tolist())) == 50
    assert (drawn != choose(available=1000, wanted=50, seed=8, batch=1)).any()


def test_too_few_samples_are_all_drawn_in_whole_batches() -> None:
    assert choose(available=10, wanted=256, seed=0, batch=1).tolist() == list(range(10))
    assert len(choose(available=10, wanted=256, seed=0, batch=4)) == 8
    with pytest.raises(CompressionError, match=r"spec.data.calibration: 3 samples"):
        choose(available=3, wanted=256, seed=0, batch=4)
