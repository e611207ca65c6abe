"""The evaluation and calibration sets that travel with a model, checked against its inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from modelyard.contract.artifact import CALIBRATION_FILE, EVALUATION_FILE, LABELS

Samples = torch.Tensor | npt.NDArray[np.generic]
Arrays = dict[str, npt.NDArray[np.generic]]


def evaluation_arrays(given: Sequence[Samples], example: Mapping[str, torch.Tensor]) -> Arrays:
    """``(input, ..., labels)`` as arrays by input name, and ``labels``. Raises ValueError with the remedy."""
    if len(given) != len(example) + 1:
        raise ValueError(
            f"evaluation: give ({', '.join(example)}, labels), which are {len(example) + 1} arrays, not {len(given)}"
        )
    arrays = _arrays("evaluation", given[:-1], example)
    arrays[LABELS] = _array(given[-1])
    _check_counts("evaluation", arrays)
    return arrays


def calibration_arrays(given: Samples | Sequence[Samples], example: Mapping[str, torch.Tensor]) -> Arrays:
    """The inputs of training samples as arrays by input name. Raises ValueError with the remedy."""
    inputs = [given] if isinstance(given, torch.Tensor | np.ndarray) else given
    if len(inputs) != len(example):
        raise ValueError(
            f"calibration: give ({', '.join(example)}), which are {len(example)} arrays, not {len(inputs)}"
        )
    arrays = _arrays("calibration", inputs, example)
    _check_counts("calibration", arrays)
    return arrays


def check_apart(evaluation: Arrays, calibration: Arrays) -> None:
    """Raise ValueError if both sets have the same inputs: a gate on data that calibration saw proves nothing."""
    if all(np.array_equal(array, evaluation[name]) for name, array in calibration.items()):
        raise ValueError("calibration and evaluation are the same samples; take the calibration set from training data")


def write(folder: Path, evaluation: Arrays | None, calibration: Arrays | None) -> None:
    """Write the sets that there are into the artefact's folder. Raises OSError."""
    for name, arrays in ((EVALUATION_FILE, evaluation), (CALIBRATION_FILE, calibration)):
        if arrays is not None:
            np.savez(folder / name, allow_pickle=False, **arrays)


def _arrays(what: str, given: Sequence[Samples], example: Mapping[str, torch.Tensor]) -> Arrays:
    arrays = {name: _array(samples) for name, samples in zip(example, given, strict=True)}
    for name, tensor in example.items():
        array, expected = arrays[name], tensor.numpy()
        if array.dtype != expected.dtype or array.shape[1:] != expected.shape[1:]:
            raise ValueError(
                f"{what}: {name} is {array.dtype} {array.shape}, but the model takes {expected.dtype} "
                f"{('n', *expected.shape[1:])} as example_inputs shows; convert it as for training"
            )
    return arrays


def _array(samples: Samples) -> npt.NDArray[np.generic]:
    return torch.as_tensor(samples).detach().cpu().numpy()


def _check_counts(what: str, arrays: Arrays) -> None:
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"{what}: every array needs the same number of samples, at least one, not {counts}")
