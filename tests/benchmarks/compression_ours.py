"""One compression as its pod does it, with the default recipe: ``FOLDER TARGET``; prints what was selected."""
# ruff: noqa: T201

import os
import shutil
import sys
import tempfile
from pathlib import Path

import onnx

from modelyard.contract import layout
from modelyard.contract.artifact import Lineage, TensorSpec
from modelyard.contract.digest import digest_of_json
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ArtifactPlace, CompressRun, GatesRun, MetricRun, Place, QuantizeRun, RunIdentity
from modelyard.kinds.compressionjob.recipe import Quantize
from modelyard.storage.artifacts import manifest_of, open_artifact, publish
from modelyard_compressor.__main__ import main as compress


def main(folder: Path, target: Path) -> int:
    with tempfile.TemporaryDirectory() as root:
        os.environ[layout.ROOT_VARIABLE] = root
        termination = compressed(folder, Path(root))
        if termination.artifact is None or termination.selected is None:
            print(f"{termination.reason}: {termination.message}", file=sys.stderr)
            return 1
        directory, _ = open_artifact(termination.artifact)
        shutil.copyfile(directory / "model.onnx", target)
        print(termination.selected.trial)
        return 0


def compressed(folder: Path, root: Path) -> Termination:
    """Publish the folder as a training would, and compress that."""
    source = root / "source"
    source.mkdir()
    for name in ("model.onnx", "calibration.npz", "eval.npz"):
        shutil.copyfile(folder / name, source / name)
    graph = onnx.load(source / "model.onnx").graph
    lineage = Lineage(kind="TrainingJob", name=folder.name, namespace="default", spec_digest=digest_of_json([]))
    inputs, outputs = ([_spec(value) for value in values] for values in (graph.input, graph.output))
    manifest = manifest_of(source, inputs, outputs, {}, {}, lineage)
    published = publish(source, manifest, f"file://{root}/models")
    quantize = Quantize()
    run = CompressRun(
        identity=RunIdentity(namespace="default", name=folder.name, uid="1"),
        source=ArtifactPlace(uri=published.uri, digest=published.digest),
        metric=MetricRun(name=os.environ.get("BENCH_METRIC", "Top1")),
        quantize=QuantizeRun.model_validate(quantize.model_dump(by_alias=True)),
        gates=GatesRun(max_accuracy_drop=float(os.environ.get("BENCH_DROP", "0.003"))),
        output=Place(uri=f"file://{root}/out"),
        report_name="report",
        lineage=lineage,
    )
    (root / layout.CONFIG).mkdir()
    (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
    compress()
    return Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    types: dict[int, str] = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}
    shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
    datatype = types[value.type.tensor_type.elem_type]
    return TensorSpec.model_validate({"name": value.name, "datatype": datatype, "shape": shape})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
