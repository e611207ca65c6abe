"""A large model lies in two files: while it is worked on, in the ledger, in the artefact, and where it serves."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from modelyard.contract.artifact import MODEL_FILE
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import GatesRun
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor import latency, model_files
from modelyard_compressor.sessions import Model
from whole_runs import AUTO, Files, compress, report_of, source_artifact

DATA_FILE = "model.onnx.data"


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything with more than 10 kB of weights."""
    monkeypatch.setattr(model_files, "EXTERNAL_ABOVE", 10_000)
    monkeypatch.setattr(latency, "_ROUNDS", 20)


@pytest.fixture
def files(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Files:
    return {"calibration": {"image": images[:60]}, "eval": {"image": images[800:900], "labels": labels[800:900]}}


def names(artifact: PublishedArtifact | None) -> list[str]:
    assert artifact is not None
    _, manifest = open_artifact(artifact)
    return [file.path for file in manifest.files if file.path.startswith("model")]


def weights(model: onnx.ModelProto) -> dict[str, bytes]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer}


def test_a_copy_has_the_weights_under_a_name_of_its_own(conv_net: onnx.ModelProto, tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "elsewhere" / "second.onnx"
    second.parent.mkdir()
    before = weights(conv_net)

    model_files.save(conv_net, first)
    model_files.copy(first, second)

    assert weights(conv_net) == weights(onnx.load(second)) == before
    assert sorted(path.name for path in second.parent.iterdir()) == ["second.onnx", "second.onnx.data"]
    assert len(second.read_bytes()) < 10_000 < model_files.size(second)


def test_what_was_large_leaves_no_second_file_when_it_is_small(conv_net: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model_files.save(conv_net, path)
    small = onnx.ModelProto()
    small.CopyFrom(conv_net)
    del small.graph.initializer[:]

    model_files.save(small, path)

    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("mode", ["Static", "Float16"])
def test_a_large_model_is_compressed_and_published_in_two_files(
    root: Path, conv_net: onnx.ModelProto, files: Files, mode: str
) -> None:
    quantize = AUTO.model_copy(update={"mode": [mode], "range_repair": [True]})

    exit_code, termination = compress(root, source_artifact(root, conv_net, files), quantize=quantize)

    assert exit_code == 0, termination.message
    assert termination.artifact is not None
    assert names(termination.artifact) == [MODEL_FILE, DATA_FILE]
    folder, manifest = open_artifact(termination.artifact)
    entries = [manifest.file(MODEL_FILE), manifest.file(DATA_FILE)]
    assert report_of(root).chosen.figures.size_bytes == pytest.approx(
        sum(entry.size_bytes for entry in entries if entry is not None), rel=0.01
    )
    answer = Model(folder / MODEL_FILE, 1).predict({"image": files["eval"]["image"]})
    assert (answer.argmax(axis=1) == files["eval"]["labels"]).mean() > 0.8


def test_a_source_in_two_files_is_published_as_it_is(root: Path, conv_net: onnx.ModelProto, files: Files) -> None:
    source = source_artifact(root, conv_net, files)
    _, first = compress(root, source, gates=GatesRun(min_speedup=1000, on_failure="PublishBaseline"))
    assert names(first.artifact) == [MODEL_FILE, DATA_FILE]
    assert first.artifact is not None

    exit_code, second = compress(root, first.artifact, gates=GatesRun(min_speedup=1000, on_failure="PublishBaseline"))

    assert (exit_code, names(second.artifact)) == (0, [MODEL_FILE, DATA_FILE])
    assert second.baseline is not None
    assert first.baseline is not None
    assert second.baseline.accuracy == first.baseline.accuracy
