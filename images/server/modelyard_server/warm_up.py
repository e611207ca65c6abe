"""Run a model before any client does: first-run allocations, a false signature, and whether its rows stand alone."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from modelyard.contract.artifact import TensorSpec
from modelyard_server.session import FAILURES, Model
from modelyard_server.tensors import DTYPES, Tensor

log = logging.getLogger(__name__)

WARM_UP_ROWS = (1, 2, 8)
_SEED = 0


def warm_up(model: Model) -> None:
    """Run zeros through the model. Raises what ONNX Runtime raises, and ValueError for an output of another type.

    A run whose sizes had to be guessed may fail without the model being broken, and is only logged.
    """
    signature = model.signature
    for rows in WARM_UP_ROWS if signature.batched else (1,):
        try:
            results = model.run(zeros(signature.inputs, rows), [spec.name for spec in signature.outputs])
        except FAILURES as error:
            if rows == 1 and not has_guessed_sizes(model):
                raise
            log.warning("%s: warm-up with %d rows skipped: %s", signature.model, rows, error)
            continue
        for spec, tensor in zip(signature.outputs, results, strict=True):
            if tensor.dtype != DTYPES[spec.datatype]:
                raise ValueError(f"output '{spec.name}' is {tensor.dtype}, the manifest says {spec.datatype}")


def has_guessed_sizes(model: Model) -> bool:
    """Whether an input varies in more than its rows, so that any size for it is a guess."""
    return any(-1 in spec.shape[1:] for spec in model.signature.inputs)


def zeros(specs: Sequence[TensorSpec], rows: int) -> dict[str, Tensor]:
    """Inputs of zeros, or of empty texts; a size that varies is 1."""
    return {
        spec.name: np.full(_shape(spec, rows), "" if spec.datatype == "BYTES" else 0, DTYPES[spec.datatype])
        for spec in specs
    }


def unlike_rows(specs: Sequence[TensorSpec], rows: int) -> dict[str, Tensor]:
    """Inputs whose rows differ: numbers in [0, 1), whole numbers 0 or 1 (valid as indices as a rule)."""
    source = np.random.default_rng(_SEED)
    found: dict[str, Tensor] = {}
    for spec in specs:
        shape = _shape(spec, rows)
        dtype = DTYPES[spec.datatype]
        if spec.datatype == "BYTES":
            found[spec.name] = source.integers(0, 2, shape).astype(str).astype(object)
        elif spec.datatype == "BF16":
            found[spec.name] = (source.random(shape, np.float32).view(np.uint32) >> 16).astype(dtype)
        elif dtype.kind == "f":
            found[spec.name] = source.random(shape, np.float32).astype(dtype)
        else:
            found[spec.name] = source.integers(0, 2, shape).astype(dtype)
    return found


def rows_stand_alone(model: Model) -> bool:
    """Whether rows give the same outputs together as each alone, but for rounding: only then may requests share a run.

    False too where it cannot be tried, because such inputs do not run.
    """
    signature = model.signature
    if not signature.batched:
        return False
    names = [spec.name for spec in signature.outputs]
    together = unlike_rows(signature.inputs, 3)
    try:
        whole = model.run(together, names)
        alone = [model.run({name: tensor[row : row + 1] for name, tensor in together.items()}, names) for row in (0, 2)]
    except FAILURES as error:
        log.warning("%s: no batching, rows could not be compared: %s", signature.model, error)
        return False
    for row, results in zip((0, 2), alone, strict=True):
        for spec, result, all_rows in zip(signature.outputs, results, whole, strict=True):
            if all_rows.shape[:1] != (3,) or not _alike(result, all_rows[row : row + 1], spec):
                log.warning("%s: no batching: output '%s' of a row depends on the rows beside it", *_named(model, spec))
                return False
    return True


def _named(model: Model, spec: TensorSpec) -> tuple[str, str]:
    return model.signature.model, spec.name


def _alike(one: Tensor, other: Tensor, spec: TensorSpec) -> bool:
    """Equal, or as near as another order of adding leaves numbers of that type."""
    if one.shape != other.shape:
        return False
    tolerance: Mapping[str, float] = {"FP16": 1e-2, "BF16": 5e-2, "FP32": 1e-4, "FP64": 1e-8}
    if spec.datatype not in tolerance:
        return bool(np.array_equal(one, other))
    if spec.datatype == "BF16":
        one, other = (_widened(each) for each in (one, other))
    numbers, others = one.astype(np.float64), other.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    scale = float(np.abs(finite).max(initial=0))
    limit = tolerance[spec.datatype]
    return bool(np.allclose(numbers, others, rtol=limit, atol=limit * max(scale, 1e-6), equal_nan=True))


def _widened(bits: Tensor) -> Tensor:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _shape(spec: TensorSpec, rows: int) -> list[int]:
    sizes = [1 if size == -1 else size for size in spec.shape]
    return [rows, *sizes[1:]] if spec.shape[:1] == [-1] else sizes
