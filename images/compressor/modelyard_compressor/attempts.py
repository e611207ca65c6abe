"""Which trials can be built and run at all? One that cannot is listed with its error, and the others go on."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract.runs import CompressRun
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.measure import Subject, load
from modelyard_compressor.prepare import Prepared
from modelyard_compressor.quantize import build
from modelyard_compressor.results import InfeasibleTrial
from modelyard_compressor.trials import Trial

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """A trial whose model loads, runs, and was evaluated."""

    trial: Trial
    subject: Subject


def attempt_all(
    prepared: Prepared, run: CompressRun, float_model: Path, scratch: Path, announce: Callable[[int], None]
) -> tuple[list[Built], list[InfeasibleTrial]]:
    """Build each planned trial from ``float_model`` into ``scratch``; ``announce`` hears how many came before.

    Raises CompressionError (AllTrialsInfeasible) where none could be built.
    """
    built: list[Built] = []
    infeasible: list[InfeasibleTrial] = []
    for number, trial in enumerate(prepared.trials):
        announce(number)
        reader = CalibrationReader(prepared.drawn, prepared.baseline.model.batch or 1) if prepared.drawn else None
        path = scratch / f"{trial.name}.onnx"
        start = time.perf_counter()
        try:
            build(trial, float_model, path, reader)
            built.append(Built(trial, load(path, run, prepared.evaluation)))
        except Exception as error:
            LOG.exception(trial.name)
            LOG.info("%s is infeasible: %s", trial.name, error)
            infeasible.append(InfeasibleTrial(name=trial.name, trial=trial, error=f"{type(error).__name__}: {error}"))
        else:
            seconds = time.perf_counter() - start
            LOG.info("%s built and evaluated in %.1f s: %d bytes", trial.name, seconds, path.stat().st_size)
    if not built:
        errors = "; ".join(f"{trial.name}: {trial.error}" for trial in infeasible)
        raise CompressionError("AllTrialsInfeasible", f"spec.recipe: no quantized model could be built ({errors})")
    return built, infeasible
