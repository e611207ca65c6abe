"""Which samples does a fine-tune learn from? An .npz file with an array for each input, and ``labels``."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from modelyard.contract.artifact import LABELS, Datatype, TensorSpec
from modelyard_trainer.errors import TrainingError

_DATATYPES: Mapping[torch.dtype, Datatype] = {
    torch.bool: "BOOL",
    torch.uint8: "UINT8",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}
BATCH = 64
"""Samples of one step, on all ranks together."""


class TrainingDataInvalidError(TrainingError):
    """``spec.data.training`` does not fit the model."""

    reason = "TrainingDataInvalid"


class Samples:
    """The samples of the file at ``path`` for a model of these inputs. Raises TrainingDataInvalidError."""

    def __init__(self, path: Path, inputs: Sequence[TensorSpec], device: torch.device) -> None:
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: torch.from_numpy(file[name]).to(device) for name in file.files}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingDataInvalidError(
                f"spec.data.training: it is not an .npz file of plain arrays ({error}); use numpy.savez"
            ) from error
        names = [each.name for each in inputs]
        missing = [name for name in (*names, LABELS) if name not in arrays]
        if missing:
            raise TrainingDataInvalidError(
                f"spec.data.training: no array named {', '.join(missing)} (found: {', '.join(sorted(arrays))}); "
                "it needs one for each input of the model, and labels"
            )
        self.inputs = [_fitting(arrays[each.name], each) for each in inputs]
        self.labels = arrays[LABELS]
        counts = {len(array) for array in (*self.inputs, self.labels)}
        if len(counts) != 1 or self.count < 2:
            raise TrainingDataInvalidError(
                f"spec.data.training: every array needs the same number of samples, two at least, not {sorted(counts)}"
            )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.labels)

    @property
    def batches(self) -> int:
        """Steps of one epoch: a last part of a batch is left out."""
        return max(1, self.count // BATCH)

    @property
    def example(self) -> list[torch.Tensor]:
        """Two samples, as ``forward`` takes them."""
        return [array[:2] for array in self.inputs]

    def shuffled(self, seed: int, rank: int, ranks: int) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        """One epoch: this rank's part of each batch, the same order on all ranks. A rank always has two at least."""
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))
        size = max(BATCH, 2 * ranks)
        for batch in range(self.batches):
            rows = order[torch.arange(batch * size + rank, (batch + 1) * size, ranks) % self.count]
            yield [array[rows] for array in self.inputs], self.labels[rows]


def _fitting(array: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    sizes = zip(array.shape, spec.shape, strict=False)
    fits = array.ndim == len(spec.shape) and all(size == asked or asked < 0 for size, asked in sizes)
    if not fits or _DATATYPES.get(array.dtype) != spec.datatype:
        found = f"{str(array.dtype).removeprefix('torch.')} {list(array.shape)}"
        raise TrainingDataInvalidError(
            f"spec.data.training: {spec.name} is {found}, but the model takes {spec.datatype} {spec.shape}; "
            "convert it as for training"
        )
    return array
