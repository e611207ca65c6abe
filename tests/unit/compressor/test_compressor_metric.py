"""A metric of the user's own: called as the documentation says, and every mistake named."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from modelyard.contract.reports import EXIT_FINAL
from modelyard.contract.runs import GatesRun, MetricRun
from modelyard_compressor import latency
from whole_runs import Files, compress, report_of, source_artifact

MODULE = """
import numpy as np

def wrong(outputs, labels):
    return outputs["logits"].argmax(axis=1) != labels

def one_number(outputs, labels):
    return float((outputs["logits"].argmax(axis=1) != labels).mean())

def no_number(outputs, labels):
    return ["good"] * len(labels)

def not_finite(outputs, labels):
    return np.full(len(labels), np.nan)

def raises(outputs, labels):
    return outputs["probabilities"]

def leaves(outputs, labels):
    raise SystemExit("enough")

constant = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own" / "scores"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "digits.py").write_text(MODULE)
    (package / "broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.setattr(latency, "_ROUNDS", 20)


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {"calibration": {"image": images[:60]}, "eval": {"image": images[800:900], "labels": labels[800:900]}}


def metric(function: str, module: str = "scores.digits") -> MetricRun:
    return MetricRun(name="Errors", entrypoint=f"{module}:{function}", higher_is_better=False)


def test_a_function_decides_what_is_lost(root: Path, conv_net: onnx.ModelProto, files: Files) -> None:
    source = source_artifact(root, conv_net, files)
    gates = GatesRun(max_accuracy_drop=0.02)

    _, top1 = compress(root, source, gates=gates)
    exit_code, own = compress(root, source, gates=gates, metric=metric("wrong"))

    assert (exit_code, own.reason) == (0, "AllGatesMet")
    assert top1.baseline is not None
    assert own.baseline is not None
    assert float(own.baseline.accuracy) == pytest.approx(1 - float(top1.baseline.accuracy))
    assert top1.selected is not None
    assert own.selected is not None
    assert float(own.selected.accuracy_drop) == pytest.approx(float(top1.selected.accuracy_drop))
    assert "Errors" in (root / "out" / "report" / "report.html").read_text()
    assert report_of(root).chosen.figures.accuracy_drop_interval.high >= float(own.selected.accuracy_drop)


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        (metric("wrong", "no_such_package"), "MetricNotFound", "No module named 'no_such_package'"),
        (metric("wrong", "scores.broken"), "MetricNotFound", "No module named 'no_such_module'"),
        (metric("right"), "MetricNotFound", "scores.digits has no function right"),
        (metric("constant"), "MetricNotFound", "scores.digits has no function constant"),
        (metric("raises"), "MetricFailed", "scores.digits:raises raised KeyError: 'probabilities' ("),
        (metric("leaves"), "MetricFailed", "scores.digits:leaves raised SystemExit: enough ("),
        (metric("one_number"), "MetricInvalid", "returned one number for a batch of 1 samples; return an array"),
        (metric("no_number"), "MetricInvalid", "returned list for a batch of 1"),
        (metric("not_finite"), "MetricInvalid", "returned nan for a batch of 1"),
    ],
    ids=lambda value: value.entrypoint if isinstance(value, MetricRun) else "",
)
def test_a_function_that_is_no_metric_ends_the_job_with_the_remedy(
    root: Path, conv_net: onnx.ModelProto, files: Files, asked: MetricRun, reason: str, words: str
) -> None:
    exit_code, termination = compress(root, source_artifact(root, conv_net, files), metric=asked)

    assert (exit_code, termination.reason) == (EXIT_FINAL, reason)
    assert termination.message.startswith("spec.metric.entrypoint: ")
    assert words in termination.message
