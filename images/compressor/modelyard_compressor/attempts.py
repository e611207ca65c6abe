"""Which trials can be built and run at all? One that cannot is listed with its error, and the others go on."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from modelyard.contract.runs import CompressRun
from modelyard.storage.errors import StorageError
from modelyard_compressor import accuracy, model_files
from modelyard_compressor.accuracy import Scores
from modelyard_compressor.executed import Execution, execute
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.fallback import fewest
from modelyard_compressor.gates import observed_drop, within
from modelyard_compressor.ledger import Ledger, Record
from modelyard_compressor.measure import Subject, load
from modelyard_compressor.noise import measure_noise, ranked
from modelyard_compressor.prepare import Prepared
from modelyard_compressor.quantize import DYNAMIC_OPERATORS, static_operators
from modelyard_compressor.results import InfeasibleTrial
from modelyard_compressor.sessions import Model
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench

LOG = logging.getLogger(__name__)

_LEAST_SHARE = 0.05
"""Of the work in integers, below which a trial only adds roundings."""
_DEADLY = 2
"""A trial that began so often and never ended takes the pod down with it, for example for want of memory."""
_NOISE_ITEMS = 8


@dataclass(frozen=True)
class Built:
    """A trial whose model loads, runs, and was evaluated."""

    trial: Trial
    subject: Subject
    execution: Execution
    excluded: list[str]
    """Nodes left in float for the accuracy gate."""

    @property
    def name(self) -> str:
        """The trial's, and how many nodes stayed in float."""
        return self.trial.name if not self.excluded else f"{self.trial.name}-float{len(self.excluded)}"


@dataclass(frozen=True)
class Attempts:
    """What became of the planned trials."""

    built: list[Built]
    infeasible: list[InfeasibleTrial]
    skipped: list[Trial]
    """Not begun in the time allowed."""


def attempt_all(
    trials: Sequence[Trial],
    prepared: Prepared,
    run: CompressRun,
    workbenches: Mapping[str | None, Workbench],
    ledger: Ledger,
    began: float,
    announce: Callable[[int], None],
) -> Attempts:
    """Build each of the trials, or take it from ``ledger``; ``announce`` hears how many came before.

    ``workbenches`` are by the start of a trial; ``began`` is when the search of this pod began, on the monotonic clock.
    Raises StorageError.
    """
    found = Attempts([], [], [])
    limit = run.search.max_duration_seconds
    for number, trial in enumerate(trials):
        announce(number)
        workbench = workbenches[trial.start]
        made = _known(trial, run, workbench, ledger)
        if made is None and limit is not None and number > 0 and time.monotonic() - began > limit:
            LOG.info("%s is not tried: the search has taken its %d s", trial.name, limit)
            found.skipped.append(trial)
            continue
        made = made or _attempt(trial, prepared, run, workbench, ledger)
        if isinstance(made, Built):
            found.built.append(made)
        else:
            LOG.info("%s is infeasible: %s", trial.name, made)
            found.infeasible.append(InfeasibleTrial(name=trial.name, trial=trial, error=made))
    return found


def require_one(found: Attempts) -> Attempts:
    """The same. Raises CompressionError (AllTrialsInfeasible) where none could be built."""
    if not found.built:
        errors = "; ".join(f"{trial.name}: {trial.error}" for trial in found.infeasible)
        raise CompressionError("AllTrialsInfeasible", f"spec.recipe: no quantized model could be built ({errors})")
    return found


def _known(trial: Trial, run: CompressRun, workbench: Workbench, ledger: Ledger) -> Built | str | None:
    finished = ledger.find(trial, workbench.scratch)
    if finished is None:
        return None
    LOG.info("%s was tried before: its result is taken", trial.name)
    if finished.model is None or finished.scores is None or finished.record.execution is None:
        return finished.record.error or "infeasible"
    execution = finished.record.execution
    model = Model(finished.model, run.threads)
    subject = Subject(finished.model, model, finished.scores, execution.int8_mac_share)
    return Built(trial, subject, execution, finished.record.excluded)


def _attempt(trial: Trial, prepared: Prepared, run: CompressRun, workbench: Workbench, ledger: Ledger) -> Built | str:
    start = time.perf_counter()
    if ledger.begin(trial) >= _DEADLY:
        error = f"it ended the pod {_DEADLY} times; give it more memory (spec.target.resources.limits)"
        ledger.keep(Record(trial=trial, error=error))
        return error
    try:
        built = _within_accuracy(_built(trial, (), prepared, run, workbench), prepared, run, workbench)
    except StorageError:
        raise
    except KeyboardInterrupt:
        # Suspended, or the node is drained: twice that would otherwise be held against the trial.
        ledger.excuse(trial)
        raise
    except Exception as problem:
        LOG.exception(trial.name)
        error = f"{type(problem).__name__}: {problem}"
        ledger.keep(Record(trial=trial, error=error))
        return error
    record = Record(trial=trial, excluded=built.excluded, execution=built.execution)
    ledger.keep(record, built.subject.path, built.subject.scores)
    seconds, size = time.perf_counter() - start, model_files.size(built.subject.path)
    LOG.info("%s built and evaluated in %.1f s: %d bytes", built.name, seconds, size)
    return built


def _built(trial: Trial, excluded: Sequence[str], prepared: Prepared, run: CompressRun, workbench: Workbench) -> Built:
    path = workbench.scratch / f"{trial.name}{f'-float{len(excluded)}' if excluded else ''}.onnx"
    workbench.build(trial, path, excluded)
    execution = execute(path, workbench.probe, workbench.scratch)
    if trial.mode != "Float16" and execution.int8_mac_share < _LEAST_SHARE:
        raise CompressionError(
            "NothingQuantized",
            f"onnxruntime executes {execution.int8_mac_share:.0%} of the multiply-accumulates in integers; "
            f"the rest are {', '.join(execution.float_operators[:3])}; try another mode",
        )
    subject = replace(load(path, run, prepared.evaluation), int8_mac_share=execution.int8_mac_share)
    return Built(trial, subject, execution, list(excluded))


def _within_accuracy(built: Built, prepared: Prepared, run: CompressRun, workbench: Workbench) -> Built:
    """The same, or with the noisiest nodes in float where that makes the accuracy gate hold."""
    trial, most = built.trial, run.quantize.accuracy_fallback_nodes
    if most == 0 or trial.mode == "Float16" or _accurate(built.subject.scores, prepared, run):
        return built
    if trial.start is not None and not _accurate(prepared.start_scores[trial.start], prepared, run):
        LOG.info("%s: %s loses more than the accuracy gate allows in float already", trial.name, trial.start)
        return built
    ranking = _noisiest(built, prepared, workbench)
    found = fewest(
        ranking,
        most,
        build=lambda excluded: _rebuilt(trial, excluded, prepared, run, workbench),
        holds=lambda candidate: candidate is not None and _accurate(candidate.subject.scores, prepared, run),
    )
    if found is None or found.built is None:
        LOG.info("%s: the accuracy gate does not hold with %d nodes in float either", trial.name, most)
        return built
    LOG.info("%s: left in float for the accuracy gate: %s", trial.name, ", ".join(found.built.excluded))
    return found.built


def _rebuilt(
    trial: Trial, excluded: Sequence[str], prepared: Prepared, run: CompressRun, workbench: Workbench
) -> Built | None:
    """The trial with those nodes in float; None where that leaves too little in integers."""
    try:
        return _built(trial, excluded, prepared, run, workbench)
    except CompressionError:
        return None


def _accurate(after: Scores, prepared: Prepared, run: CompressRun) -> bool:
    limit = run.gates.max_accuracy_drop
    if limit is None:
        return True
    before = prepared.baseline.scores
    mean = accuracy.drop(run.metric, before, after)
    interval = accuracy.drop_interval(run.metric, before, after, run.seed)
    return within(observed_drop(run.gates, mean, interval), limit)


def _noisiest(built: Built, prepared: Prepared, workbench: Workbench) -> list[str]:
    source = workbench.source(built.trial)
    model = onnx.load(source)
    operators = static_operators(model) if built.trial.mode == "Static" else [*DYNAMIC_OPERATORS, "Gemm"]
    batch, data = workbench.batch, workbench.calibration or prepared.evaluation.inputs
    items = min(_NOISE_ITEMS, len(next(iter(data.values()))) // batch)
    feeds = (
        {name: np.ascontiguousarray(array[item * batch : (item + 1) * batch]) for name, array in data.items()}
        for item in range(items)
    )
    return ranked(
        model, measure_noise(source, built.subject.path, feeds, workbench.scratch, workbench.threads), operators
    )
