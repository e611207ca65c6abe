"""Can this run begin? Source and data verified, the source evaluated, the trials planned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from modelyard.contract.compression import MemoryReport
from modelyard.contract.runs import CompressRun
from modelyard_compressor import accuracy
from modelyard_compressor.calibration import choose
from modelyard_compressor.cpu import Cpu, this_cpu
from modelyard_compressor.custom_metric import imported
from modelyard_compressor.data import DEFAULT_FILES, DataSet, Role, read_data, shared_samples
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.measure import Subject, check_batch_sizes, load
from modelyard_compressor.memory import at_least, estimate, memory_limit, within_limit
from modelyard_compressor.sessions import Model, Tensor
from modelyard_compressor.shapes import outline
from modelyard_compressor.source import Source, open_source
from modelyard_compressor.trials import Trial, plan, sampled
from modelyard_compressor.versions import fitted, runtime_limits

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


@dataclass(frozen=True)
class Prepared:
    """All that the trials start from."""

    source: Source
    starts: dict[str, Source]
    """Tuned models to quantize beside the source, by what was done to them."""
    start_models: dict[str, Path]
    """Theirs, as onnxruntime takes them."""
    start_scores: dict[str, accuracy.Scores]
    """Theirs on the evaluation set, in float."""
    baseline: Subject
    evaluation: DataSet
    calibration: DataSet | None
    """Absent where none was named and the source carries none."""
    drawn: dict[str, Tensor] | None
    """The calibration samples to use; absent where no trial needs any."""
    shared_samples: int
    """Evaluation samples that the calibration file also holds."""
    cpu: Cpu
    trials: list[Trial]
    left_out: int
    """Combinations of the recipe that are beyond ``search.maxTrials``."""
    memory: MemoryReport

    @property
    def drawn_samples(self) -> int:
        """How many calibration samples are used."""
        return len(next(iter(self.drawn.values()))) if self.drawn else 0

    def start(self, trial: Trial) -> Source:
        """The artefact whose model the trial quantizes."""
        return self.source if trial.start is None else self.starts[trial.start]


def prepare(run: CompressRun, scratch: Path) -> Prepared:
    """Verify, read, evaluate and plan; in ``scratch`` lies what of that is a file.

    Raises StorageError, and CompressionError: EvaluationMissing, CalibrationMissing, CalibrationEqualsEvaluation,
    SourceUnusable, CustomOperator, MemoryTooSmall, OpsetTooNew, BatchSizeUnsupported, NothingToQuantize, and what
    ``imported``, and reading and evaluating the data, raise.
    """
    if run.metric.entrypoint is not None:
        imported(run.metric.entrypoint)
    source = open_source(run.source)
    starts = {each.name: open_source(each) for each in run.starts or []}
    limit = memory_limit()
    within_limit(at_least(source.model_bytes), limit)
    limits = runtime_limits()
    path = fitted(source.model, limits, scratch / "source.onnx")
    graph = outline(onnx.load(path))
    check_operators(graph.graph)
    with _usable(source):
        model = Model(path, run.threads)
    check_batch_sizes(run.batch_sizes, model)
    evaluation = read_data("evaluation", run.evaluation, source, model.dtypes)
    if evaluation is None:
        raise _missing("evaluation", source)
    calibration = read_data("calibration", run.calibration, source, model.dtypes)
    shared = shared_samples(calibration, evaluation) if calibration else 0
    cpu = this_cpu()
    planned = [
        *(
            trial.model_copy(update={"start": name})
            for name, start in starts.items()
            for trial in plan(run.quantize, _operators(outline(onnx.load(start.model)).graph), cpu)
        ),
        *plan(run.quantize, _operators(graph.graph), cpu),
    ]
    trials = sampled(planned, run.search.max_trials, run.seed)
    drawn = None
    if calibration is None and any(trial.mode == "Static" for trial in trials):
        raise _missing("calibration", source)
    if calibration is not None and any(trial.mode == "Static" or trial.range_repair for trial in trials):
        drawn = calibration.rows(choose(len(calibration), run.calibration_samples, run.seed, model.batch or 1))
    held = [evaluation.inputs, calibration.inputs if calibration else {}, drawn or {}]
    data = sum(array.nbytes for arrays in held for array in arrays.values())
    shapes = evaluation.shapes(model.batch or 1)
    memory = within_limit(estimate(graph, source.model_bytes, shapes, data, len(trials), max(run.batch_sizes)), limit)
    with _usable(source):
        baseline = Subject(path, model, accuracy.evaluate(model, evaluation, run.metric, max(run.batch_sizes)))
    start_models = {name: fitted(start.model, limits, scratch / f"{name}.onnx") for name, start in starts.items()}
    start_scores = {name: load(model, run, evaluation).scores for name, model in start_models.items()}
    left_out = len(planned) - len(trials)
    return Prepared(
        source, starts, start_models, start_scores, baseline, evaluation, calibration, drawn, shared, cpu, trials,
        left_out, memory,
    )  # fmt: skip


def _operators(graph: onnx.GraphProto) -> set[str]:
    return {node.op_type for node in graph.node}


def check_operators(graph: onnx.GraphProto) -> None:
    """Raises CompressionError (CustomOperator) where the graph holds an operator of no standard domain.

    It could be neither optimised nor quantized, and the server would not know it.
    """
    custom = sorted({f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in _DOMAINS})
    if custom:
        raise CompressionError(
            "CustomOperator",
            f"spec.source: the model holds custom operators ({', '.join(custom)}); "
            "export it with operators of ONNX or onnxruntime alone",
        )


@contextmanager
def _usable(source: Source) -> Iterator[None]:
    try:
        yield
    except CompressionError:
        raise
    except Exception as error:
        raise CompressionError(
            "SourceUnusable",
            f"spec.source: onnxruntime cannot run {source.reference.uri} on the evaluation set: {error}",
        ) from error


def _missing(role: Role, source: Source) -> CompressionError:
    return CompressionError(
        f"{role.capitalize()}Missing",
        f"spec.data.{role}: {source.reference.uri} carries no {DEFAULT_FILES[role]}; "
        f"name a file here, or let the training save one with its model",
    )
