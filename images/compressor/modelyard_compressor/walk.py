"""How does a run become a termination message? Step by step, each one announced."""

import logging
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import onnx

from modelyard.contract import layout
from modelyard.contract.digest import short
from modelyard.contract.reports import Environment, ProgressReport, Termination
from modelyard.contract.runs import CompressRun
from modelyard.storage.store import open_store
from modelyard_compressor import gates
from modelyard_compressor.attempts import Built, attempt_all
from modelyard_compressor.layers import Layer, affordable, layers, output_noise
from modelyard_compressor.measure import measure
from modelyard_compressor.optimise import optimise
from modelyard_compressor.page import render
from modelyard_compressor.prepare import Prepared, prepare
from modelyard_compressor.publish import FRAMEWORKS, publish
from modelyard_compressor.report import DataReport, Machine, Report, publish_report
from modelyard_compressor.results import MeasuredTrial
from modelyard_compressor.throttling import throttled_since, throttling
from modelyard_compressor.verdict import verdict

LOG = logging.getLogger(__name__)


def compress(run: CompressRun) -> Termination:
    """Verify, optimise, quantize, measure, gate, publish and report: Succeeded, or Rejected by a gate.

    Raises CompressionError and StorageError where there is no result.
    """
    scratch = _empty(layout.root() / layout.WORK / "compressor")
    _announce("Verifying", 0, None)
    open_store(run.output.uri, run.output.secret).check()  # what cannot be written to is worth knowing before the work
    prepared = prepare(run)
    _log_prepared(prepared, run)
    steps = len(prepared.trials) + 4

    _announce("Optimising", 0, steps)
    float_model = prepared.source.model
    if run.optimise:
        float_model = scratch / "optimised.onnx"
        optimise(prepared.source.model, float_model)

    built, infeasible = attempt_all(
        prepared, run, float_model, scratch, announce=lambda number: _announce("Quantizing", 1 + number, steps)
    )

    _announce("Measuring", steps - 3, steps)
    before = throttling()
    baseline, figures = measure(prepared.baseline, [trial.subject for trial in built], run, prepared.evaluation)
    throttled = throttled_since(before)

    _announce("Gating", steps - 2, steps)
    trials = [
        MeasuredTrial(name=of.trial.name, trial=of.trial, figures=measured, gates=gates.judge(run.gates, measured))
        for of, measured in zip(built, figures, strict=True)
    ]
    for trial in trials:
        LOG.info("%s: %s", trial.name, "holds its gates" if trial.passed else gates.refusal(trial.gates))
    selected = gates.select(trials)
    chosen = built[trials.index(selected)]
    result = verdict(selected, baseline, run)
    LOG.info("%s (%s): %s", result.outcome, result.reason, result.message)

    _announce("Publishing", steps - 1, steps)
    artifact = None
    if selected.passed:
        artifact = publish(
            chosen.subject, selected.figures, prepared.source, run, prepared.evaluation, _empty(scratch / "artifact")
        )
        LOG.info("published %s at %s", artifact.digest, artifact.uri)
    quantized = onnx.load(chosen.subject.path)
    report = Report(
        created=datetime.now(UTC),
        identity=run.identity,
        outcome=result.outcome,
        reason=result.reason,
        message=result.message,
        metric=run.metric,
        source=prepared.source.reference,
        artifact=artifact,
        lineage=run.lineage,
        data=_data_report(prepared, run),
        machine=_machine(prepared, run, throttled),
        limits=run.gates,
        baseline=baseline,
        trials=trials,
        infeasible=infeasible,
        selected=selected.name,
        layers=_layers(chosen, prepared, float_model, quantized, scratch),
        opset=next(domain.version for domain in quantized.opset_import if not domain.domain),
        ir_version=quantized.ir_version,
    )
    location = publish_report(report, render(report), run.output, run.report_name)
    LOG.info("report at %s", location.html)
    _announce("Publishing", steps, steps)
    return Termination(
        outcome=result.outcome,
        reason=result.reason,
        message=result.message,
        artifact=artifact,
        baseline=baseline.measurement(),
        selected=selected.candidate(),
        gates=selected.gates,
        environment=Environment(
            cpu_model=prepared.cpu.model, vnni=prepared.cpu.vnni, onnxruntime=version("onnxruntime")
        ),
        report=location,
    )


def _announce(stage: str, step: int, total: int | None) -> None:
    time = datetime.now(UTC).isoformat(timespec="seconds")
    ProgressReport(stage=stage, step=step, total_steps=total, time=time).write()


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _log_prepared(prepared: Prepared, run: CompressRun) -> None:
    LOG.info("source %s verified: %d bytes of model", short(run.source.digest), prepared.source.model_bytes)
    LOG.info(
        "evaluating %s on %d samples, calibrating on %d, %d shared; trials: %s",
        run.metric,
        len(prepared.evaluation),
        prepared.drawn_samples,
        prepared.shared_samples,
        ", ".join(trial.name for trial in prepared.trials),
    )


def _data_report(prepared: Prepared, run: CompressRun) -> DataReport:
    return DataReport(
        evaluation=prepared.evaluation.origin,
        calibration=prepared.calibration.origin if prepared.calibration else None,
        calibration_samples=prepared.drawn_samples,
        shared_samples=prepared.shared_samples,
        seed=run.seed,
    )


def _machine(prepared: Prepared, run: CompressRun, throttled: int | None) -> Machine:
    return Machine(
        cpu_model=prepared.cpu.model,
        architecture=prepared.cpu.machine,
        vnni=prepared.cpu.vnni,
        threads=run.threads,
        throttled_periods=throttled,
        frameworks={name: version(name) for name in FRAMEWORKS},
    )


def _layers(
    chosen: Built, prepared: Prepared, float_path: Path, quantized: onnx.ModelProto, scratch: Path
) -> list[Layer]:
    float_model = onnx.load(float_path)
    batch = prepared.baseline.model.batch or 1
    noise: dict[str, float] = {}
    if chosen.trial.mode == "Static" and affordable(float_model, prepared.evaluation.shapes(batch)):
        try:
            noise = output_noise(float_path, chosen.subject.path, prepared.evaluation, batch, scratch)
        except Exception:
            # A picture less in the report is no reason to lose the result.
            LOG.exception("the noise of each layer could not be measured")
    return layers(float_model, quantized, noise)
