"""Searches as whole runs: what is tried, what survives a killed pod, and what is published in the end."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from graphs import graph, node, normal
from modelyard.contract.compression import GateResult
from modelyard.contract.decimals import Decimal
from modelyard.contract.reports import EXIT_FAILED
from modelyard.contract.runs import GatesRun, SearchRun
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor import attempts, latency, shares
from modelyard_compressor.gates import judge
from modelyard_compressor.intervals import Interval
from modelyard_compressor.latency import Speedup
from modelyard_compressor.results import CandidateFigures, MeasuredTrial, pareto
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench
from whole_runs import AUTO, Files, compress, report_of, source_artifact

WIDE = AUTO.model_copy(update={"per_channel": [True, False], "range_repair": [True, False]})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about what is tried, not about how fast it is."""
    monkeypatch.setattr(latency, "_ROUNDS", 20)


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {
        "calibration": {"image": images[:60]},
        "eval": {"image": images[800:1000], "labels": labels[800:1000]},
    }


def test_each_combination_is_measured_and_the_front_holds_what_none_beats(
    root: Path, conv_net: onnx.ModelProto, files: Files
) -> None:
    _, termination = compress(root, source_artifact(root, conv_net, files), quantize=WIDE)

    report = report_of(root)
    assert [trial.name for trial in report.trials] == [
        f"static-u8s8-7bit-{weights}-minmax{repaired}"
        for weights in ("perchannel", "pertensor")
        for repaired in ("-repaired", "")
    ]
    assert termination.trials is not None
    assert termination.trials.measured == 4
    assert [point.trial for point in termination.pareto] == report.front
    assert all(name in (root / "out" / "report" / "report.html").read_text() for name in report.front)


def test_trials_of_pods_that_never_begin_are_built_by_the_one_that_decides(
    root: Path, conv_net: onnx.ModelProto, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_PATIENCE_SECONDS", 0.0)
    source = source_artifact(root, conv_net, files)

    _, termination = compress(root, source, quantize=WIDE, search=SearchRun(parallelism=3))

    assert len(report_of(root).trials) == 4
    assert termination.outcome == "Succeeded"


def test_beyond_the_budget_nothing_is_tried(root: Path, conv_net: onnx.ModelProto, files: Files) -> None:
    search = SearchRun(max_trials=3, max_duration_seconds=0)

    _, termination = compress(root, source_artifact(root, conv_net, files), quantize=WIDE, search=search)

    report = report_of(root)
    assert (len(report.trials), len(report.skipped), report.left_out) == (1, 2, 1)
    assert termination.trials is not None
    assert termination.trials.skipped == 3


def test_a_killed_search_goes_on_where_it_was(
    root: Path, conv_net: onnx.ModelProto, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_artifact(root, conv_net, files)
    builds: list[str] = []
    build = Workbench.build

    def killed_in_the_third(bench: Workbench, trial: Trial, target: Path, excluded: tuple[str, ...] = ()) -> None:
        builds.append(trial.name)
        if len(builds) == 3:
            raise KeyboardInterrupt
        build(bench, trial, target, excluded)

    monkeypatch.setattr(Workbench, "build", killed_in_the_third)

    exit_code, termination = compress(root, source, quantize=WIDE)
    assert (exit_code, termination.reason) == (EXIT_FAILED, "Terminated")
    exit_code, _ = compress(root, source, quantize=WIDE)

    assert exit_code == 0
    assert builds[:3] + builds[3:] == [*builds[:2], builds[2], builds[2], builds[4]]
    assert len(report_of(root).trials) == 4
    assert not [path for path in (root / "out").iterdir() if path.name.endswith("trials")]


def test_a_trial_that_ends_the_pod_twice_is_infeasible(
    root: Path, conv_net: onnx.ModelProto, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_artifact(root, conv_net, files)
    both = AUTO.model_copy(update={"per_channel": [True, False]})
    build = Workbench.build

    def deadly(bench: Workbench, trial: Trial, target: Path, excluded: tuple[str, ...] = ()) -> None:
        if trial.per_channel:
            raise SystemExit  # nothing in the pod catches it
        build(bench, trial, target, excluded)

    monkeypatch.setattr(Workbench, "build", deadly)

    for _ in range(2):
        with pytest.raises(SystemExit):
            compress(root, source, quantize=both)
    exit_code, _ = compress(root, source, quantize=both)

    assert exit_code == 0
    (infeasible,) = report_of(root).infeasible
    assert infeasible.name == "static-u8s8-7bit-perchannel-minmax"
    assert infeasible.error.startswith(f"it ended the pod {attempts._DEADLY} times")


def test_a_trial_in_whose_midst_the_pod_is_told_to_end_is_not_to_blame(
    root: Path, conv_net: onnx.ModelProto, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_artifact(root, conv_net, files)
    build = Workbench.build
    told: list[str] = []

    def told_thrice(bench: Workbench, trial: Trial, target: Path, excluded: tuple[str, ...] = ()) -> None:
        if len(told) < 3:
            told.append(trial.name)
            raise KeyboardInterrupt
        build(bench, trial, target, excluded)

    monkeypatch.setattr(Workbench, "build", told_thrice)

    codes = [compress(root, source)[0] for _ in range(4)]

    assert codes == [EXIT_FAILED] * 3 + [0]
    assert [trial.name for trial in report_of(root).trials] == told[:1]


def test_a_candidate_that_lost_too_much_gets_nodes_in_float(root: Path, images: npt.NDArray[np.float32]) -> None:
    # One huge weight meets a channel that is always silent: a scale for all weights leaves the others nothing.
    silent, spoilt = normal(8, 1, 3, 3), normal(10, 8, 3, 3, seed=1)
    silent[0], spoilt[:, 0] = 0, 3000
    net = graph(
        [
            node("Conv", ["image", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "w1"], ["c"], "second", pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["c"], ["d"], "pool"),
            node("Flatten", ["d"], ["logits"], "flatten"),
        ],
        {"w0": silent, "w1": spoilt},
        ["batch", 1, 8, 8],
        output="logits",
        name="image",
    )
    answers = onnx_answers(net, images[100:300])
    data: Files = {
        "calibration": {"image": images[:60]},
        "eval": {"image": images[100:300], "labels": answers.argmax(axis=1)},
    }
    source = source_artifact(root, net, data)
    limits = GatesRun(max_accuracy_drop=0.05)
    coarse = AUTO.model_copy(update={"per_channel": [False]})

    compress(root, source, gates=limits, quantize=coarse.model_copy(update={"accuracy_fallback_nodes": 0}))
    without = report_of(root).chosen
    _, termination = compress(root, source, gates=limits, quantize=coarse)
    chosen = report_of(root).chosen

    assert without.figures.accuracy_drop > 0.05
    assert chosen.figures.accuracy_drop <= 0.05
    assert chosen.name == "static-u8s8-7bit-pertensor-minmax-float1"
    assert (chosen.excluded, chosen.unasked) == (["second"], [])
    assert 0 < chosen.figures.int8_mac_share < 1
    assert termination.artifact is not None
    _, manifest = open_artifact(termination.artifact)
    assert manifest.provenance is not None
    assert manifest.provenance.excluded == chosen.excluded
    assert manifest.provenance.trial == chosen.name


def onnx_answers(net: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415

    answer: npt.NDArray[np.float32] = onnxruntime.InferenceSession(net.SerializeToString()).run(None, {"image": x})[0]
    return answer


def test_the_source_is_published_where_that_was_asked_for(root: Path, conv_net: onnx.ModelProto, files: Files) -> None:
    source = source_artifact(root, conv_net, files)

    exit_code, termination = compress(root, source, gates=GatesRun(min_speedup=1000, on_failure="PublishBaseline"))

    assert (exit_code, termination.outcome, termination.reason) == (0, "Succeeded", "BaselinePublished")
    assert termination.artifact is not None
    folder, manifest = open_artifact(termination.artifact)
    assert (folder / "model.onnx").read_bytes() == (root / "source" / "model.onnx").read_bytes()
    assert manifest.provenance is not None
    assert (manifest.provenance.trial, manifest.lineage.parent) == ("Baseline", source.digest)
    assert "source model" in (root / "out" / "report" / "report.html").read_text()


def candidate(drop: float, milliseconds: float, size: int, *, high: float = 0.0, share: float = 1.0) -> MeasuredTrial:
    samples = np.full(20, milliseconds)
    figures = CandidateFigures(
        accuracy=1 - drop,
        size_bytes=size,
        latencies=[latency.summarise(samples, 1, 1)],
        accuracy_drop=drop,
        accuracy_drop_interval=Interval(low=drop, high=high),
        speedups=[Speedup(batch_size=1, value=2.0, interval=Interval(low=2, high=2))],
        int8_mac_share=share,
    )
    return MeasuredTrial(name=f"{drop}-{milliseconds}-{size}", trial=Trial(mode="Int4"), figures=figures, gates=[])


def test_the_front_has_no_trial_that_another_beats_and_is_sorted_by_speed() -> None:
    trials = [candidate(0, 3, 9), candidate(0.1, 1, 9), candidate(0.1, 2, 9), candidate(0.1, 3, 5), candidate(0, 3, 9)]

    assert [trial.name for trial in pareto(trials)] == ["0.1-1-9", "0-3-9", "0.1-3-5", "0-3-9"]


@pytest.mark.parametrize(
    ("gates", "observed", "passed"),
    [
        (GatesRun(max_accuracy_drop=0.02), "0.01", True),
        (GatesRun(max_accuracy_drop=0.02, accuracy_drop_by="UpperBound"), "0.03", False),
        (GatesRun(min_int8_mac_share=0.8), "0.7", False),
        (GatesRun(min_int8_mac_share=0.7), "0.7", True),
    ],
)
def test_gates_on_the_bound_of_the_drop_and_on_the_share(gates: GatesRun, observed: Decimal, *, passed: bool) -> None:
    (verdict,) = judge(gates, candidate(0.01, 1, 1, high=0.03, share=0.7).figures)

    assert isinstance(verdict, GateResult)
    assert (verdict.observed, verdict.passed) == (observed, passed)
