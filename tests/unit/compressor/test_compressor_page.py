"""The report's page."""

from datetime import UTC, datetime

import numpy as np
import pytest

from modelyard.contract.artifact import ArtifactReference, Lineage
from modelyard.contract.compression import GateResult
from modelyard.contract.runs import GatesRun, MetricRun, RunIdentity
from modelyard_compressor.data import DataOrigin
from modelyard_compressor.intervals import Interval
from modelyard_compressor.latency import Milliseconds, speedup, summarise
from modelyard_compressor.layers import Layer
from modelyard_compressor.page import (
    readable_difference,
    readable_figure,
    readable_milliseconds,
    readable_score,
    readable_size,
    render,
)
from modelyard_compressor.report import DataReport, Machine, Report
from modelyard_compressor.results import CandidateFigures, Figures, InfeasibleTrial, MeasuredTrial
from modelyard_compressor.trials import Trial

DIGEST = "sha256:" + "0" * 64
TRIAL = Trial(mode="Dynamic", activation="U8", per_channel=True, reduce_range=False)
STEADY: Milliseconds = np.full(20, 4.0)


def report(**changes: object) -> Report:
    candidate = CandidateFigures(
        accuracy=0.9,
        size_bytes=1000,
        latencies=[summarise(STEADY / 2, 1, 1)],
        accuracy_drop=0.01,
        accuracy_drop_interval=Interval(low=0, high=0.02),
        speedups=[speedup(STEADY, STEADY / 2, 1, seed=0)],
        int8_mac_share=0.5,
    )
    default = Report(
        created=datetime(2026, 11, 24, tzinfo=UTC),
        identity=RunIdentity(namespace="default", name="digits-int8", uid="1"),
        outcome="Rejected",
        reason="GatesNotMet",
        message="",
        metric=MetricRun(name="Rmse"),
        source=ArtifactReference(uri="pvc://models/digits", digest=DIGEST),
        lineage=Lineage(kind="CompressionJob", name="digits", namespace="default", spec_digest=DIGEST),
        data=DataReport(
            evaluation=DataOrigin(uri="pvc://models/digits/eval.npz", digest=DIGEST, samples=9),
            calibration_samples=0,
            shared_samples=0,
            seed=0,
        ),
        machine=Machine(cpu_model="CPU", architecture="x86_64", vnni=False, threads=2, frameworks={"onnx": "1"}),
        limits=GatesRun(max_accuracy_drop=0.001, max_latency_p99_milliseconds=1000),
        baseline=Figures(accuracy=0.89, size_bytes=4000, latencies=[summarise(STEADY, 1, 1)]),
        trials=[
            MeasuredTrial(
                name=TRIAL.name,
                trial=TRIAL,
                figures=candidate,
                gates=[GateResult(name="maxAccuracyDrop", limit="0.001", observed="0.01", passed=False)],
            )
        ],
        infeasible=[],
        selected=TRIAL.name,
        layers=[],
        opset=18,
        ir_version=10,
    )
    return default.model_copy(update=changes)


def test_a_rejection_names_each_failed_gate() -> None:
    page = render(report())

    assert "<li>maxAccuracyDrop: 0.01 observed, limit 0.001</li>" in page
    assert "Noisy: " not in page


def test_what_others_wrote_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    page = render(
        report(
            infeasible=[InfeasibleTrial(name="x", trial=TRIAL, error=hostile)],
            layers=[Layer(name=hostile, operator="Conv", float_bytes=4, int8_bytes=1, sqnr_decibels=9)],
        )
    )

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3


def test_a_noisy_measurement_says_so() -> None:
    shaky = np.array([1.0, 9] * 10)
    noisy = Figures(accuracy=0.89, size_bytes=4000, latencies=[summarise(shaky, 1, 1)])

    assert "Noisy: " in render(report(baseline=noisy))


def test_the_json_holds_all_that_the_page_is_made_from() -> None:
    assert Report.model_validate_json(report().to_json()) == report()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (73_607, "73.6 kB"), (999_900, "1 MB"), (2_500_000, "2.5 MB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable_size(size) == text.replace(" ", "\u00a0")


def test_figures_carry_their_units() -> None:
    assert (readable_milliseconds(0.03211), readable_milliseconds(1234.4)) == ("0.0321\u00a0ms", "1234\u00a0ms")
    assert (readable_score("Top1", 0.98765), readable_score("Rmse", 0.98765)) == ("98.77\u00a0%", "0.9877")
    assert (readable_figure("0.976520"), readable_figure("-0.000794898")) == ("0.9765", "−0.0007949")
    assert readable_difference("Top1", -0.001) == "−0.10\u00a0pp"
    assert readable_difference("Cosine", 0.00123, plus="+") == "+0.00123"
    assert readable_difference("Top1", -0.0) == "0.00\u00a0pp"
