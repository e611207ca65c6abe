"""Whole runs of ``python -m modelyard_compressor`` on small networks, from run file to termination message."""

import logging
import signal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.contract import layout
from modelyard.contract.reports import EXIT_FAILED, EXIT_FINAL, ProgressReport, Termination
from modelyard.contract.runs import DataRun, GatesRun, MetricRun
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor.__main__ import main
from whole_runs import AUTO, BOTH, Files, compress, lineage, report_of, source_artifact


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {
        "calibration": {"image": images[:100]},
        "eval": {"image": images[800:1200], "labels": labels[800:1200]},
    }


def test_a_conv_net_becomes_a_smaller_artefact_that_holds_its_gates(
    root: Path, conv_net: onnx.ModelProto, files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    source = source_artifact(root, conv_net, files)
    limits = GatesRun(max_accuracy_drop=0.01, max_size_bytes=100_000)

    exit_code, termination = compress(root, source, gates=limits, batch_sizes=[1, 4])

    assert (exit_code, termination.outcome, termination.reason) == (0, "Succeeded", "AllGatesMet")
    assert termination.artifact is not None
    _, manifest = open_artifact(termination.artifact)
    assert [file.path for file in manifest.files] == ["calibration.npz", "eval.npz", "model.onnx"]
    assert manifest.lineage == lineage("CompressionJob").model_copy(update={"parent": source.digest})
    assert manifest.metrics["int8MacShare"] == 1.0
    assert manifest.metrics["accuracy"] > 0.95
    assert [(gate.name, gate.passed) for gate in termination.gates] == [
        ("maxAccuracyDrop", True),
        ("maxSizeBytes", True),
    ]
    progress = ProgressReport.model_validate_json((root / layout.WORK / layout.PROGRESS_FILE).read_bytes())
    assert (progress.stage, progress.step, progress.total_steps) == ("Publishing", 5, 5)
    output = capfd.readouterr()
    assert all(line.startswith("default/digits-int8: ") for line in output.out.splitlines())
    assert output.err == ""


def test_the_page_needs_nothing_but_itself(root: Path, conv_net: onnx.ModelProto, files: Files) -> None:
    entropy = AUTO.model_copy(update={"calibration_method": ["Entropy"]})

    compress(root, source_artifact(root, conv_net, files), quantize=entropy)

    page = (root / "out" / "report" / "report.html").read_text()
    assert page.count("<svg") == 5
    assert not [word for word in ("http", "<script", "<link", "<img", "src=", "@import") if word in page]
    layers = report_of(root).layers
    assert [layer.name for layer in layers] == ["conv0", "conv1", "conv2", "head"]
    assert all(layer.sqnr_decibels is not None and layer.sqnr_decibels > 10 for layer in layers)


def test_a_dense_net_needs_no_calibration_data_and_twice_the_same_job_publishes_one_artefact(
    root: Path, dense_net: onnx.ModelProto, files: Files
) -> None:
    source = source_artifact(root, dense_net, {"eval": files["eval"]})
    _, first = compress(root, source)
    created = report_of(root).created

    _, second = compress(root, source)

    assert first.artifact is not None
    assert first.artifact == second.artifact
    assert second.selected is not None
    assert (second.selected.trial, second.selected.int8_mac_share) == ("dynamic-u8s8-7bit-perchannel", "1")
    assert report_of(root).created > created
    assert {path.name for path in (root / "out").iterdir()} == {"report", Path(first.artifact.uri).name}


def test_a_failed_gate_publishes_the_report_and_nothing_else(
    root: Path, dense_net: onnx.ModelProto, files: Files
) -> None:
    source = source_artifact(root, dense_net, files)

    exit_code, termination = compress(root, source, gates=GatesRun(min_speedup=1000))

    assert (exit_code, termination.outcome, termination.reason) == (EXIT_FINAL, "Rejected", "GatesNotMet")
    assert termination.artifact is None
    assert "minSpeedup: " in termination.message
    assert "observed, limit 1000" in termination.message
    assert [path.name for path in (root / "out").iterdir()] == ["report"]
    assert "Rejected." in (root / "out" / "report" / "report.html").read_text()


def test_a_changed_byte_in_the_source_is_refused(root: Path, dense_net: onnx.ModelProto, files: Files) -> None:
    source = source_artifact(root, dense_net, files)
    model = Path(source.uri.removeprefix("file://")) / "model.onnx"
    content = bytearray(model.read_bytes())
    content[1000] ^= 1
    model.write_bytes(content)

    exit_code, termination = compress(root, source)

    assert (exit_code, termination.outcome, termination.reason) == (EXIT_FAILED, "Failed", "DigestMismatch")
    assert "model.onnx was changed" in termination.message


def test_calibration_with_the_evaluation_samples_is_refused(
    root: Path, conv_net: onnx.ModelProto, files: Files
) -> None:
    reordered = files["eval"]["image"][::-1]
    source = source_artifact(root, conv_net, {"calibration": {"image": reordered}, "eval": files["eval"]})

    exit_code, termination = compress(root, source)

    assert (exit_code, termination.reason) == (EXIT_FINAL, "CalibrationEqualsEvaluation")
    assert termination.message.startswith("spec.data.calibration: ")
    assert not (root / "out").exists()


def test_a_source_without_a_signature_is_refused(root: Path, dense_net: onnx.ModelProto, files: Files) -> None:
    exit_code, termination = compress(root, source_artifact(root, dense_net, files, signed=False))

    assert (exit_code, termination.reason) == (EXIT_FINAL, "SignatureMissing")
    assert "names no inputs" in termination.message


def test_custom_operators_are_refused_by_name(root: Path, dense_net: onnx.ModelProto, files: Files) -> None:
    net = onnx.ModelProto()
    net.CopyFrom(dense_net)
    net.graph.node[2].op_type, net.graph.node[2].domain = "Swoosh", "my.company"

    exit_code, termination = compress(root, source_artifact(root, net, files))

    assert (exit_code, termination.reason) == (EXIT_FINAL, "CustomOperator")
    assert "my.company.Swoosh" in termination.message


@pytest.mark.parametrize(("missing", "reason"), [("eval", "EvaluationMissing"), ("calibration", "CalibrationMissing")])
def test_missing_data_names_the_field(
    root: Path, conv_net: onnx.ModelProto, files: Files, missing: str, reason: str
) -> None:
    del files[missing]

    exit_code, termination = compress(root, source_artifact(root, conv_net, files))

    assert (exit_code, termination.reason) == (EXIT_FINAL, reason)
    assert termination.message.startswith(f"spec.data.{reason.removesuffix('Missing').lower()}: ")


def test_data_of_its_own_is_checked_by_digest(root: Path, dense_net: onnx.ModelProto, files: Files) -> None:
    np.savez(root / "other.npz", allow_pickle=False, **files["eval"])
    evaluation = DataRun(uri=f"file://{root}/other.npz", digest="sha256:" + "0" * 64)

    _, termination = compress(root, source_artifact(root, dense_net, files), evaluation=evaluation)

    assert termination.reason == "DigestMismatch"
    assert termination.message.startswith("spec.data.evaluation: file://")
    assert "other.npz was changed: expected sha256:000" in termination.message


def test_an_infeasible_trial_is_listed_and_the_others_go_on(root: Path, images: npt.NDArray[np.float32]) -> None:
    answers = np.full((50, 4), 0.5, np.float32)
    data: Files = {"calibration": {"image": images[:40]}, "eval": {"image": images[40:90], "labels": answers}}

    exit_code, _ = compress(
        root, source_artifact(root, pure_conv_net(), data), quantize=BOTH, metric=MetricRun(name="Rmse")
    )

    report = report_of(root)
    assert exit_code == 0
    assert [trial.name for trial in report.trials] == ["static-u8s8-7bit-perchannel-minmax"]
    assert [(trial.name, trial.error) for trial in report.infeasible] == [
        ("dynamic-u8s8-7bit-perchannel", "CompressionError: dynamic-u8s8-7bit-perchannel left every operator in float")
    ]


def test_no_feasible_trial_fails(root: Path, images: npt.NDArray[np.float32]) -> None:
    data: Files = {"eval": {"image": images[:50], "labels": np.zeros(50, np.int64)}}
    dynamic = AUTO.model_copy(update={"mode": ["Dynamic"]})

    exit_code, termination = compress(root, source_artifact(root, pure_conv_net(), data), quantize=dynamic)

    assert (exit_code, termination.reason) == (EXIT_FINAL, "AllTrialsInfeasible")


def test_a_fixed_batch_dimension_is_respected(root: Path, images: npt.NDArray[np.float32]) -> None:
    data: Files = {
        "calibration": {"image": images[:30]},
        "eval": {"image": images[30:80], "labels": np.zeros(50, np.int64)},
    }
    source = source_artifact(root, pure_conv_net(batch=4), data)

    refused, termination = compress(root, source, batch_sizes=[4, 1])
    exit_code, _ = compress(root, source, batch_sizes=[4])

    assert (refused, termination.reason) == (EXIT_FINAL, "BatchSizeUnsupported")
    assert exit_code == 0
    assert report_of(root).data.calibration_samples == 28


def test_an_unknown_field_in_the_run_file_names_it(root: Path) -> None:
    (root / layout.CONFIG / layout.RUN_FILE).write_text('{"surprise": 1}')

    exit_code = main()

    termination = Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())
    assert (exit_code, termination.reason) == (EXIT_FINAL, "RunFileRefused")


def test_an_unexpected_error_ends_in_one_line_and_a_traceback_on_stderr(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exit_code = main()

    termination = Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())
    assert (exit_code, termination.outcome, termination.reason) == (EXIT_FAILED, "Failed", "CompressionError")
    assert termination.message.startswith("FileNotFoundError: ")
    assert "Traceback" in capfd.readouterr().err


class TerminatesAtOnce(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_sigterm_ends_the_run_with_its_reason(root: Path, dense_net: onnx.ModelProto, files: Files) -> None:
    logger, handler = logging.getLogger("modelyard_compressor.walk"), TerminatesAtOnce()
    logger.addHandler(handler)
    try:
        exit_code, termination = compress(root, source_artifact(root, dense_net, files))
    finally:
        logger.removeHandler(handler)

    assert (exit_code, termination.outcome, termination.reason) == (EXIT_FAILED, "Failed", "Terminated")


def pure_conv_net(batch: str | int = "batch") -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["mapped"], "conv"),
        helper.make_node("GlobalAveragePool", ["mapped"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], "flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
