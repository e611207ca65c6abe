"""How does a metric of the user's own score? A function that is imported by name, and held to what it must return."""

import importlib
import traceback
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from modelyard_compressor.failures import CompressionError
from modelyard_compressor.sessions import Tensor

Function = Callable[[dict[str, Tensor], Tensor], object]
_FIELD = "spec.metric.entrypoint"


def imported(entrypoint: str) -> Function:
    """The function ``package.module:function``. Raises CompressionError (MetricNotFound)."""
    module, _, name = entrypoint.partition(":")
    try:
        found: Function | None = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:
        raise CompressionError(
            "MetricNotFound",
            f"{_FIELD}: {module} cannot be imported ({_said(error)}); put it into an image of your own, spec.image, "
            "or on PYTHONPATH where you run on a laptop",
        ) from error
    if not callable(found):
        raise CompressionError("MetricNotFound", f"{_FIELD}: {module} has no function {name}")
    return found


def scored(entrypoint: str, outputs: dict[str, Tensor], labels: Tensor) -> npt.NDArray[np.float64]:
    """What the function says of a batch: one number a sample, so that models can be compared in pairs.

    Raises CompressionError: MetricNotFound, MetricFailed where it raises, MetricInvalid where it returns anything else.
    """
    function = imported(entrypoint)
    try:
        returned = function(outputs, labels)
    except (Exception, SystemExit) as error:
        raise CompressionError(
            "MetricFailed", f"{_FIELD}: {entrypoint} raised {_said(error)}{_place(error)}"
        ) from error
    try:
        scores = np.asarray(returned, np.float64)
    except (TypeError, ValueError) as error:
        raise _invalid(entrypoint, f"returned {type(returned).__name__}", len(labels)) from error
    if scores.shape != (len(labels),):
        found = "one number" if scores.shape == () else f"an array of shape {scores.shape}"
        raise _invalid(entrypoint, f"returned {found}", len(labels))
    if not np.isfinite(scores).all():
        raise _invalid(entrypoint, f"returned {scores[~np.isfinite(scores)][0]}", len(labels))
    return scores


def _invalid(entrypoint: str, what: str, samples: int) -> CompressionError:
    return CompressionError(
        "MetricInvalid",
        f"{_FIELD}: {entrypoint} {what} for a batch of {samples} samples; return an array with a finite number for "
        "each of them: their mean is the metric",
    )


def _said(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip().splitlines()[-1]


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({last.filename}, line {last.lineno})" if last.filename != __file__ else ""
