"""Tuned models beside their source: trials of each, judged against the source, published with their own parent."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from pydantic import JsonValue

from graphs import graph, node, normal
from modelyard.contract.artifact import ArtifactReference
from modelyard.contract.digest import digest_of_json, short
from modelyard.contract.runs import GatesRun, StartRun
from modelyard.storage.artifacts import open_artifact
from modelyard.storage.store import open_store
from modelyard_compressor import latency
from modelyard_compressor.ledger import Ledger
from modelyard_compressor.trials import Trial
from whole_runs import Files, compress, report_of, source_artifact

TINY = "pruned-0.9-static-u8s8-7bit-perchannel-minmax"


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


def tiny() -> onnx.ModelProto:
    """A network of few weights that has learnt nothing."""
    return graph(
        [
            node("Conv", ["image", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("GlobalAveragePool", ["b"], ["c"], "pool"),
            node("Flatten", ["c"], ["logits"], "flatten"),
        ],
        {"w0": normal(10, 1, 3, 3)},
        ["batch", 1, 8, 8],
        output="logits",
        name="image",
    )


def start(of: ArtifactReference) -> StartRun:
    return StartRun(name="pruned-0.9", uri=of.uri, digest=of.digest)


def test_a_tuned_model_is_tried_before_its_source_and_named_by_what_was_done(
    root: Path, conv_net: onnx.ModelProto, files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    source, made = source_artifact(root, conv_net, files), source_artifact(root, tiny(), files, place="tuned")

    _, termination = compress(root, source, starts=[start(made)], gates=GatesRun(max_accuracy_drop=0.05))

    report = report_of(root)
    assert [trial.name for trial in report.trials] == [TINY, TINY.removeprefix("pruned-0.9-")]
    assert [trial.passed for trial in report.trials] == [False, True]
    assert report.trials[0].figures.accuracy_drop > 0.5
    assert report.starts == {"pruned-0.9": ArtifactReference(uri=made.uri, digest=made.digest)}
    assert termination.artifact is not None
    assert open_artifact(termination.artifact)[1].lineage.parent == source.digest
    assert f"{TINY}: pruned-0.9 loses more than the accuracy gate allows in float already" in capfd.readouterr().out
    assert made.digest in (root / "out" / "report" / "report.html").read_text()


def test_what_is_made_of_a_tuned_model_names_it_as_its_parent(
    root: Path, conv_net: onnx.ModelProto, files: Files
) -> None:
    source, made = source_artifact(root, conv_net, files), source_artifact(root, tiny(), files, place="tuned")

    _, termination = compress(root, source, starts=[start(made)], gates=GatesRun(max_size_bytes=8_000))

    assert termination.selected is not None
    assert termination.artifact is not None
    _, manifest = open_artifact(termination.artifact)
    assert manifest.provenance is not None
    assert (termination.selected.trial, manifest.provenance.trial) == (TINY, TINY)
    assert manifest.lineage.parent == made.digest


def test_a_trial_of_the_source_is_remembered_as_it_was_before_there_were_others(tmp_path: Path) -> None:
    ledger = Ledger(open_store(f"file://{tmp_path}"), {"source": "a"})
    trial = Trial(mode="Static", activation="U8", per_channel=True, calibration_method="MinMax")
    plain: dict[str, JsonValue] = {
        "mode": "Static",
        "activation": "U8",
        "perChannel": True,
        "reduceRange": False,
        "calibrationMethod": "MinMax",
        "rangeRepair": False,
    }
    assert ledger._place_name(trial) == short(digest_of_json([{"source": "a"}, plain]))
    other = trial.model_copy(update={"start": "pruned-0.3"})
    assert ledger._place_name(other) == short(digest_of_json([{"source": "a"}, {"start": "pruned-0.3", **plain}]))
