"""What goes into the report and the manifest? Everything that the steps found out, put together."""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import onnx

from modelyard.contract.artifact import Provenance
from modelyard.contract.digest import DIGEST_PATTERN, digest_of_json
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import CompressRun
from modelyard_compressor.attempts import Attempts, Built
from modelyard_compressor.layers import Layer, layers
from modelyard_compressor.noise import Decibels, measure_noise
from modelyard_compressor.prepare import Prepared
from modelyard_compressor.publish import FRAMEWORKS
from modelyard_compressor.report import DataReport, Machine, Report
from modelyard_compressor.results import Figures, MeasuredTrial
from modelyard_compressor.verdict import Verdict
from modelyard_compressor.workbench import Workbench

LOG = logging.getLogger(__name__)

_NOISE_BATCHES = 4
_DIGEST = re.compile(DIGEST_PATTERN)


@dataclass(frozen=True)
class Outcome:
    """What the walk found out."""

    verdict: Verdict
    baseline: Figures
    trials: list[MeasuredTrial]
    selected: MeasuredTrial
    chosen: Built
    """What the selected trial built."""
    attempts: Attempts
    artifact: PublishedArtifact | None
    throttled: int | None


def compose(of: Outcome, prepared: Prepared, run: CompressRun, workbench: Workbench) -> Report:
    """The report. Raises OSError."""
    quantized = onnx.load(of.chosen.subject.path)
    return Report(
        created=datetime.now(UTC),
        identity=run.identity,
        outcome=of.verdict.outcome,
        reason=of.verdict.reason,
        message=of.verdict.message,
        metric=run.metric,
        source=prepared.source.reference,
        starts={name: start.reference for name, start in prepared.starts.items()} or None,
        artifact=of.artifact,
        lineage=run.lineage,
        data=_data(prepared, run),
        machine=_machine(prepared, run, of.throttled),
        limits=run.gates,
        baseline=of.baseline,
        trials=of.trials,
        infeasible=of.attempts.infeasible,
        skipped=[trial.name for trial in of.attempts.skipped],
        left_out=prepared.left_out,
        selected=of.selected.name,
        layers=_layers(of.chosen, prepared, workbench, quantized),
        opset=next(domain.version for domain in quantized.opset_import if not domain.domain),
        ir_version=quantized.ir_version,
    )


def provenance(chosen: Built | None, prepared: Prepared, run: CompressRun) -> Provenance:
    """What the published model was made with; ``chosen`` is absent where it is the source's own."""
    recipe = run.model_dump(
        mode="json",
        include={"optimise", "quantize", "search", "metric", "calibration_samples"},
        exclude={"search": {"parallelism"}},  # how fast, not what
    )
    tuned = (
        {} if chosen is None or chosen.trial.start is None else {"start": prepared.start(chosen.trial).reference.digest}
    )
    used = prepared.calibration if prepared.drawn else None
    image = (run.lineage.image or "").rpartition("@")[2]
    return Provenance(
        trial=chosen.name if chosen is not None else "Baseline",
        recipe_digest=digest_of_json({**recipe, **tuned, "seed": run.seed}),
        excluded=chosen.excluded if chosen is not None else [],
        calibration_digest=used.origin.digest if used is not None else None,
        evaluation_digest=prepared.evaluation.origin.digest,
        image_digest=image if _DIGEST.match(image) else None,
        cpu_flags=prepared.cpu.arithmetic_flags,
    )


def _data(prepared: Prepared, run: CompressRun) -> DataReport:
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
        flags=prepared.cpu.arithmetic_flags,
        threads=run.threads,
        throttled_periods=throttled,
        frameworks={name: version(name) for name in FRAMEWORKS},
    )


def _layers(chosen: Built, prepared: Prepared, workbench: Workbench, quantized: onnx.ModelProto) -> list[Layer]:
    source = workbench.source(chosen.trial)
    batch, data = workbench.batch, prepared.evaluation
    starts = range(0, min(_NOISE_BATCHES * batch, len(data)), batch)
    feeds = (data.rows(np.arange(start, start + batch) % len(data)) for start in starts)
    noise: Decibels = {}
    try:
        noise = measure_noise(source, chosen.subject.path, feeds, workbench.scratch, workbench.threads)
    except Exception:
        # A picture less in the report is no reason to lose the result.
        LOG.exception("the noise of each layer could not be measured")
    return layers(onnx.load(source), quantized, noise)
