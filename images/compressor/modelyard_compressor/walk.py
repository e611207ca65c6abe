"""How does a run become a termination message? Step by step, each one announced."""

import logging
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from pydantic import JsonValue

from modelyard.contract import layout
from modelyard.contract.compression import Environment, MemoryReport, TrialCounts
from modelyard.contract.digest import short
from modelyard.contract.reports import ProgressReport, PublishedArtifact, Termination
from modelyard.contract.runs import CompressRun
from modelyard.storage.store import open_store
from modelyard_compressor import gates, model_files
from modelyard_compressor.attempts import Attempts, Built
from modelyard_compressor.compose import Outcome, compose, provenance
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.ledger import Ledger
from modelyard_compressor.measure import measure
from modelyard_compressor.optimise import optimise
from modelyard_compressor.page import render
from modelyard_compressor.prepare import Prepared, prepare
from modelyard_compressor.publish import FRAMEWORKS, publish
from modelyard_compressor.report import publish_report
from modelyard_compressor.results import Figures, InfeasibleTrial, MeasuredTrial, pareto
from modelyard_compressor.saturation import saturation_risk
from modelyard_compressor.search import search
from modelyard_compressor.throttling import throttled_since, throttling
from modelyard_compressor.verdict import verdict
from modelyard_compressor.workbench import Workbench, name_nodes

LOG = logging.getLogger(__name__)

_MOST_POINTS = 20


def compress(run: CompressRun) -> Termination:
    """Verify, optimise, quantize, measure, gate, publish and report: Succeeded, or Rejected by a gate.

    Of several pods that share a search, all but one end with Succeeded once their trials are in the ledger.

    Raises CompressionError and StorageError where there is no result.
    """
    scratch = _empty(layout.root() / layout.WORK / "compressor")
    _announce("Verifying", 0, None)
    output = open_store(run.output.uri, run.output.secret)
    output.check()  # what cannot be written to is worth knowing before the work
    prepared = prepare(run, scratch)
    _log_prepared(prepared, run)
    steps = len(prepared.trials) + 4

    def announce(stage: str, step: int) -> None:
        _announce(stage, step, steps, prepared.memory)

    announce("Optimising", 0)
    workbenches = _workbenches(prepared, run, scratch)
    ledger = Ledger(output / f"{run.report_name}-trials", _context(prepared, run))

    searched = search(prepared, run, workbenches, ledger, lambda number: announce("Quantizing", 1 + number))
    if searched is None:
        return Termination(
            outcome="Succeeded", reason="TrialsBuilt", message="all trials of this pod are built; another one decides"
        )

    announce("Measuring", steps - 3)
    before = throttling()
    baseline, trials, attempts = _measured(searched, prepared, run)
    throttled = throttled_since(before)

    announce("Gating", steps - 2)
    for trial in trials:
        LOG.info("%s: %s", trial.name, "holds its gates" if trial.passed else gates.refusal(trial.gates))
    selected = gates.select(trials)
    chosen = attempts.built[trials.index(selected)]
    result = verdict(selected, baseline, run)
    LOG.info("%s (%s): %s", result.outcome, result.reason, result.message)

    announce("Publishing", steps - 1)
    artifact = None
    if result.outcome == "Succeeded":
        artifact = _published(selected, chosen, baseline, prepared, run, _empty(scratch / "artifact"))
        LOG.info("published %s at %s", artifact.digest, artifact.uri)
    outcome = Outcome(result, baseline, trials, selected, chosen, attempts, artifact, throttled)
    report = compose(outcome, prepared, run, workbenches[chosen.trial.start])
    location = publish_report(report, render(report), run.output, run.report_name)
    LOG.info("report at %s", location.html)
    ledger.clear()
    announce("Publishing", steps)
    return Termination(
        outcome=result.outcome,
        reason=result.reason,
        message=result.message,
        artifact=artifact,
        baseline=baseline.measurement(),
        selected=selected.candidate(),
        gates=selected.gates,
        trials=TrialCounts(
            measured=len(trials),
            infeasible=len(attempts.infeasible),
            skipped=len(attempts.skipped) + prepared.left_out,
        ),
        pareto=[trial.point() for trial in pareto(trials)[:_MOST_POINTS]],
        environment=Environment(
            cpu_model=prepared.cpu.model,
            vnni=prepared.cpu.vnni,
            cpu_flags=prepared.cpu.arithmetic_flags,
            onnxruntime=version("onnxruntime"),
        ),
        memory=prepared.memory,
        report=location,
    )


def _workbenches(prepared: Prepared, run: CompressRun, scratch: Path) -> dict[str | None, Workbench]:
    """One for each model that trials start from; that of the source has no name."""
    found: dict[str | None, Workbench] = {None: _workbench(prepared.baseline.path, prepared, run, scratch)}
    for name, model in prepared.start_models.items():
        folder = scratch / name
        folder.mkdir()
        found[name] = _workbench(model, prepared, run, folder)
    return found


def _workbench(source: Path, prepared: Prepared, run: CompressRun, scratch: Path) -> Workbench:
    float_model = scratch / "float.onnx"
    if run.optimise:
        optimise(source, float_model)
    model = onnx.load(float_model if run.optimise else source)
    name_nodes(model)
    model_files.save(model, float_model)
    batch = prepared.baseline.model.batch or 1
    probe = prepared.evaluation.rows(np.arange(batch) % len(prepared.evaluation))
    return Workbench(float_model, scratch, probe, prepared.drawn, batch, run.threads)


def _context(prepared: Prepared, run: CompressRun) -> JsonValue:
    """All that the result of a trial depends on, besides the trial."""
    starts: JsonValue = {each.name: each.digest for each in run.starts or []}
    return {
        **({"starts": starts} if starts else {}),
        "source": run.source.digest,
        "calibration": prepared.calibration.origin.digest if prepared.calibration else None,
        "evaluation": prepared.evaluation.origin.digest,
        "samples": run.calibration_samples,
        "seed": run.seed,
        "metric": run.metric.model_dump(mode="json"),
        "optimise": run.optimise,
        "batch": max(run.batch_sizes),
        "fallback": run.quantize.accuracy_fallback_nodes,
        "drop": run.gates.max_accuracy_drop,
        "dropBy": run.gates.accuracy_drop_by,
        "flags": list(prepared.cpu.arithmetic_flags),
        "frameworks": {name: version(name) for name in FRAMEWORKS},
    }


def _measured(
    attempts: Attempts, prepared: Prepared, run: CompressRun
) -> tuple[Figures, list[MeasuredTrial], Attempts]:
    """The figures of the source and of each trial, less those that store in 16 bits and turned out slower."""
    built = attempts.built
    baseline, figures = measure(prepared.baseline, [each.subject for each in built], run, prepared.evaluation)
    trials: list[MeasuredTrial] = []
    kept: list[Built] = []
    slower: list[InfeasibleTrial] = []
    for of, measured in zip(built, figures, strict=True):
        if of.trial.mode == "Float16" and measured.speedups[0].interval.high < 1:
            error = f"float16 runs at {measured.speedups[0].value:.2f} of the source's speed on this CPU; take Static"
            slower.append(InfeasibleTrial(name=of.name, trial=of.trial, error=error))
            continue
        kept.append(of)
        trials.append(
            MeasuredTrial(
                name=of.name,
                trial=of.trial,
                figures=measured,
                gates=gates.judge(run.gates, measured),
                excluded=of.excluded,
                saturation_risk=saturation_risk(onnx.load(of.subject.path)),
                unasked=of.execution.unasked(of.excluded),
            )
        )
    if not trials:
        raise CompressionError("AllTrialsInfeasible", f"spec.recipe: {'; '.join(each.error for each in slower)}")
    return baseline, trials, Attempts(kept, [*attempts.infeasible, *slower], attempts.skipped)


def _published(
    selected: MeasuredTrial, chosen: Built, baseline: Figures, prepared: Prepared, run: CompressRun, scratch: Path
) -> PublishedArtifact:
    if selected.passed:
        figures = selected.figures
        metrics = {
            "accuracy": figures.accuracy,
            "accuracyDrop": figures.accuracy_drop,
            "int8MacShare": figures.int8_mac_share,
        }
        subject, made_by, start = chosen.subject, provenance(chosen, prepared, run), prepared.start(chosen.trial)
    else:
        metrics = {"accuracy": baseline.accuracy, "accuracyDrop": 0.0, "int8MacShare": 0.0}
        subject, made_by, start = prepared.baseline, provenance(None, prepared, run), prepared.source
    return publish(subject, metrics, made_by, start, run, prepared.evaluation, scratch)


def _announce(stage: str, step: int, total: int | None, memory: MemoryReport | None = None) -> None:
    time = datetime.now(UTC).isoformat(timespec="seconds")
    ProgressReport(stage=stage, step=step, total_steps=total, memory=memory, time=time).write()


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _log_prepared(prepared: Prepared, run: CompressRun) -> None:
    LOG.info("source %s verified: %d bytes of model", short(run.source.digest), prepared.source.model_bytes)
    for name, start in prepared.starts.items():
        LOG.info("%s %s verified: %d bytes of model", name, short(start.reference.digest), start.model_bytes)
    LOG.info(
        "evaluating %s on %d samples, calibrating on %d, %d shared; trials: %s",
        run.metric.name,
        len(prepared.evaluation),
        prepared.drawn_samples,
        prepared.shared_samples,
        ", ".join(trial.name for trial in prepared.trials),
    )
    limit = prepared.memory.limit_bytes
    LOG.info(
        "this takes about %d Mi of memory%s",
        prepared.memory.estimate_bytes >> 20,
        f", of the {limit >> 20} Mi that the pod may take" if limit is not None else "",
    )
