"""A whole run of ``python -m modelyard_compressor`` in this process, from run file to termination message."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from modelyard.contract import layout
from modelyard.contract.artifact import ArtifactReference, Lineage, TensorSpec
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ArtifactPlace, CompressRun, GatesRun, Place, QuantizeRun, RunIdentity
from modelyard.storage.artifacts import manifest_of, publish
from modelyard_compressor.__main__ import main
from modelyard_compressor.report import Report

Array = npt.NDArray[np.generic]
Files = dict[str, dict[str, Array]]
"""Arrays by name, by the name of their file."""

AUTO = QuantizeRun(
    mode=["Auto"], per_channel=[True], range_repair=[False], reduce_range="Always", calibration_method=["MinMax"]
)
BOTH = AUTO.model_copy(update={"mode": ["Static", "Dynamic"]})


def source_artifact(
    root: Path, net: onnx.ModelProto, files: Files, *, signed: bool = True, place: str = "source"
) -> ArtifactReference:
    folder = root / place
    folder.mkdir()
    onnx.save(net, folder / "model.onnx")
    for name, arrays in files.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    manifest = manifest_of(
        folder,
        inputs=[TensorSpec(name="image", datatype="FP32", shape=[-1, 1, 8, 8])] if signed else [],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, 10])],
        metrics={},
        frameworks={},
        lineage=lineage("TrainingJob"),
    )
    return publish(folder, manifest, f"file://{root}/models")


def lineage(kind: str) -> Lineage:
    return Lineage(kind=kind, name="digits", namespace="default", spec_digest="sha256:" + "0" * 64)


def write_run(root: Path, source: ArtifactReference, **changes: object) -> None:
    """The run file of a job that compresses ``source`` with ``changes`` to a run without gates."""
    run = CompressRun(
        identity=RunIdentity(namespace="default", name="digits-int8", uid="1"),
        source=ArtifactPlace(uri=source.uri, digest=source.digest),
        calibration_samples=64,
        quantize=AUTO,
        gates=GatesRun(),
        output=Place(uri=f"file://{root}/out"),
        report_name="report",
        lineage=lineage("CompressionJob"),
    )
    (root / layout.CONFIG / layout.RUN_FILE).write_text(run.model_copy(update=changes).to_json())


def compress(root: Path, source: ArtifactReference, **changes: object) -> tuple[int, Termination]:
    write_run(root, source, **changes)
    return main(), Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())


def report_of(root: Path) -> Report:
    return Report.model_validate_json((root / "out" / "report" / "report.json").read_bytes())
