"""From a run file to a model that is verified, loaded, warm and tuned. Takes seconds; called in a thread."""

import logging
import time

from modelyard.contract.runs import ServeRun
from modelyard_server.cpu_quota import available_cpus
from modelyard_server.session import FAILURES, Loader, Model, open_model
from modelyard_server.tuning import Tuning, choose, measure, side_by_side_or_together
from modelyard_server.warm_up import rows_stand_alone, warm_up, zeros

log = logging.getLogger(__name__)

_WORTH_SECOND_LOAD = 1e-3
"""Seconds of a run from which several threads for one run are tried."""


def started(run: ServeRun) -> tuple[Model, Tuning]:
    """The model of ``run`` and how to run it. Raises StorageError and StartError."""
    start = time.perf_counter()
    loader = open_model(run)
    verified = time.perf_counter()
    model = loader.load(run.intra_op_threads or 1)
    _warm(model, loader)
    loaded = time.perf_counter()
    cpus = run.cpus or available_cpus()
    model, tuning = _tuned(model, loader, run, cpus)
    log.info(
        "%s: verified in %.2f s, loaded and warm in %.2f s, tuned in %.2f s; %s; %s, %d x %d threads of %d cpus, "
        "batches of %d (%s)",
        run.name,
        verified - start,
        loaded - verified,
        time.perf_counter() - loaded,
        ", ".join(model.providers),
        tuning.mode,
        tuning.instances,
        tuning.threads,
        cpus,
        tuning.max_batch,
        tuning.reason,
    )
    return model, tuning


def _warm(model: Model, loader: Loader) -> None:
    try:
        warm_up(model)
    except FAILURES as error:
        raise loader.failed(error) from error


def _tuned(model: Model, loader: Loader, run: ServeRun, cpus: int) -> tuple[Model, Tuning]:
    alone = run.batching.mode == "Auto" and rows_stand_alone(model)
    seconds = measure(model, batched=alone and run.batching.max_batch_size is None)
    if not seconds:  # sizes that had to be guessed do not run: nothing is known, and threads are the safe way
        seconds = {1: 1.0}
        alone = False
    tuning = choose(seconds, cpus, alone=alone, batching=run.batching, threads=run.intra_op_threads)
    measured = run.intra_op_threads is None and tuning.mode == "Threads" and cpus > 1
    if not measured or seconds[1] < _WORTH_SECOND_LOAD or not _runs(model):
        return model, tuning

    def load(threads: int) -> Model:
        other = loader.load(threads)
        _warm(other, loader)
        return other

    return side_by_side_or_together(model, load, tuning, cpus)


def _runs(model: Model) -> bool:
    try:
        model.run(zeros(model.signature.inputs, 1), [spec.name for spec in model.signature.outputs])
    except FAILURES:
        return False
    return True
