"""Which calibration samples does onnxruntime see, and how many at once? A seeded choice, handed out in strides."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from modelyard_compressor.failures import CompressionError
from modelyard_compressor.sessions import Tensor

_LONGEST_STRIDE = 4
"""Items whose activations the histogram methods hold in memory at once."""


def choose(available: int, wanted: int, seed: int, batch: int) -> npt.NDArray[np.int64]:
    """Indices of ``wanted`` of the ``available`` samples, or of all, ascending, a multiple of ``batch`` of them.

    Raises CompressionError (DataMismatch) where that leaves none.
    """
    count = min(wanted, available)
    count -= count % batch
    if count == 0:
        raise CompressionError(
            "DataMismatch", f"spec.data.calibration: {available} samples do not fill one batch of {batch}; add some"
        )
    return np.sort(np.random.default_rng(seed).permutation(available)[:count])


class CalibrationReader:
    """Hands out each sample once, as onnxruntime.quantization's CalibrationDataReader does.

    ``CalibStridedMinMax`` makes onnxruntime ask for ``stride`` items at a time through ``set_range``, which bounds the
    memory of every calibration method. Its own limit, CalibMaxIntermediateOutputs, discards data (onnxruntime#18893).
    """

    def __init__(self, inputs: Mapping[str, Tensor], batch: int = 1) -> None:
        self._inputs = inputs
        self._batch = batch
        self._next, self._end = 0, len(self)

    def __len__(self) -> int:
        """How many items of ``batch`` samples there are."""
        return len(next(iter(self._inputs.values()))) // self._batch

    @property
    def stride(self) -> int:
        """The longest bounded stride that divides the number of items, as onnxruntime demands."""
        return max(size for size in range(1, _LONGEST_STRIDE + 1) if len(self) % size == 0)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Hand out the items from ``start_index`` up to, without, ``end_index`` next."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Tensor] | None:
        """The next item, or None at the end of the range."""
        if self._next >= self._end:
            return None
        rows = slice(self._next * self._batch, (self._next + 1) * self._batch)
        self._next += 1
        return {name: array[rows] for name, array in self._inputs.items()}
