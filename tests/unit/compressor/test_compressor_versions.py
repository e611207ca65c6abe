"""A model that is newer than onnxruntime takes is converted, or refused before the work begins."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from graphs import answers, graph, node, normal
from modelyard.contract.reports import EXIT_FINAL
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor import latency, prepare
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.versions import Limits, fitted, runtime_limits
from whole_runs import Files, compress, source_artifact


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def versions(path: Path) -> tuple[int, int]:
    model = onnx.load(path)
    return model.opset_import[0].version, model.ir_version


def dense() -> onnx.ModelProto:
    """Of opset 18 and IR version 10, as all graphs of these tests."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("ReduceMean", ["a", "axes"], ["y"])]
    return graph(nodes, {"w": normal(4, 4), "axes": np.array([1], np.int64)}, ["batch", 4])


def test_onnxruntime_tells_what_it_takes() -> None:
    limits = runtime_limits()

    assert limits.opset is not None
    assert limits.ir is not None
    assert 18 <= limits.opset <= onnx.defs.onnx_opset_version() + 1
    assert 10 <= limits.ir <= onnx.IR_VERSION + 1


def test_a_model_within_the_limits_stays_as_it_is(tmp_path: Path) -> None:
    source = saved(dense(), tmp_path)

    assert fitted(source, Limits(opset=18, ir=10), tmp_path / "fitted.onnx") == source


def test_a_newer_model_is_converted_and_answers_the_same(tmp_path: Path) -> None:
    source = saved(dense(), tmp_path)
    x = normal(3, 4, seed=1)

    target = fitted(source, Limits(opset=17, ir=8), tmp_path / "fitted.onnx")

    assert versions(target) == (17, 8)
    np.testing.assert_array_equal(answers(target, x), answers(source, x))


def test_a_model_that_cannot_be_converted_is_refused_with_the_remedy(tmp_path: Path) -> None:
    nodes = [node("LayerNormalization", ["x", "scale"], ["y"])]
    source = saved(graph(nodes, {"scale": normal(4)}, ["batch", 4]), tmp_path)

    with pytest.raises(CompressionError, match=r"is of opset 18, onnxruntime .* takes up to 16, .*opset_version=16"):
        fitted(source, Limits(opset=16, ir=10), tmp_path / "fitted.onnx")


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {"calibration": {"image": images[:60]}, "eval": {"image": images[800:900], "labels": labels[800:900]}}


def test_a_model_of_an_opset_that_nobody_knows_ends_the_job(
    root: Path, conv_net: onnx.ModelProto, files: Files
) -> None:
    future = onnx.ModelProto()
    future.CopyFrom(conv_net)
    del future.opset_import[:]
    future.opset_import.append(helper.make_opsetid("", 1000))

    exit_code, termination = compress(root, source_artifact(root, future, files))

    assert (exit_code, termination.reason) == (EXIT_FINAL, "OpsetTooNew")
    assert termination.message.startswith("spec.source: the model is of opset 1000, onnxruntime ")


def test_a_converted_model_is_compressed_and_published_as_converted(
    root: Path, conv_net: onnx.ModelProto, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "runtime_limits", lambda: Limits(opset=17, ir=8))
    monkeypatch.setattr(latency, "_ROUNDS", 20)

    exit_code, termination = compress(root, source_artifact(root, conv_net, files))

    assert (exit_code, termination.artifact is not None) == (0, True)
    assert termination.artifact is not None
    folder, _ = open_artifact(termination.artifact)
    opset, ir = versions(folder / "model.onnx")
    assert (opset <= 17, ir <= 8) == (True, True)
