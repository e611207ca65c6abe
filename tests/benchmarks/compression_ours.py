"""One compression as its pods do it: ``FOLDER TARGET [MODEL]``; prints what was selected.

With MODEL, a function of nets.py, it is pruned and distilled before the default recipe.
"""
# ruff: noqa: T201

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

import nets
import samples
from modelyard.contract import layout
from modelyard.contract.artifact import Lineage, TensorSpec, artifact_uri
from modelyard.contract.digest import digest_of_json
from modelyard.contract.reports import Termination
from modelyard.contract.runs import (
    TRAINING_INPUT,
    ArtifactPlace,
    CompressRun,
    DistilRun,
    GatesRun,
    InputRun,
    MetricRun,
    Place,
    PruneRun,
    QuantizeRun,
    RunIdentity,
    StartRun,
    TrainRun,
    TuneRun,
    VariantRun,
)
from modelyard.kinds.compressionjob.recipe import Quantize
from modelyard.storage.artifacts import manifest_of, open_artifact, publish
from modelyard_compressor.__main__ import main as compress

RATIOS = (0.5, 0.6, 0.7)


def main(folder: Path, target: Path, model: str | None = None) -> int:
    with tempfile.TemporaryDirectory() as root:
        os.environ[layout.ROOT_VARIABLE] = root
        termination = compressed(folder, Path(root), model)
        if termination.artifact is None or termination.selected is None:
            print(f"{termination.reason}: {termination.message}", file=sys.stderr)
            return 1
        directory, _ = open_artifact(termination.artifact)
        shutil.copyfile(directory / "model.onnx", target)
        print(termination.selected.trial)
        return 0


def compressed(folder: Path, root: Path, model: str | None) -> Termination:
    """Publish the folder as a training would, and compress that."""
    source = root / "source"
    source.mkdir()
    for name in ("model.onnx", "calibration.npz", "eval.npz", *(["weights.safetensors"] if model else [])):
        shutil.copyfile(folder / name, source / name)
    graph = onnx.load(source / "model.onnx").graph
    lineage = Lineage(kind="TrainingJob", name=folder.name, namespace="default", spec_digest=digest_of_json([]))
    inputs, outputs = ([_spec(value) for value in values] for values in (graph.input, graph.output))
    manifest = manifest_of(source, inputs, outputs, {}, {}, lineage)
    published = publish(source, manifest, f"file://{root}/models")
    (root / layout.CONFIG).mkdir()
    starts = (
        None if model is None else tuned(folder, root, ArtifactPlace(uri=published.uri, digest=published.digest), model)
    )
    quantize = Quantize()
    run = CompressRun(
        identity=RunIdentity(namespace="default", name=folder.name, uid="1"),
        source=ArtifactPlace(uri=published.uri, digest=published.digest),
        starts=starts,
        metric=MetricRun(name=os.environ.get("BENCH_METRIC", "Top1")),
        quantize=QuantizeRun.model_validate(quantize.model_dump(by_alias=True)),
        gates=GatesRun(max_accuracy_drop=float(os.environ.get("BENCH_DROP", "0.003"))),
        output=Place(uri=f"file://{root}/out"),
        report_name="report",
        lineage=lineage,
    )
    (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
    compress()
    return Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())


def tuned(folder: Path, root: Path, source: ArtifactPlace, model: str) -> list[StartRun]:
    """Prune and distil the source as the trainer's pod does it."""
    code, lineage = (
        root / layout.CODE,
        Lineage(kind="CompressionJob", name=model, namespace="default", spec_digest=source.digest),
    )
    code.mkdir()
    for module in (nets, samples):
        shutil.copyfile(str(module.__file__), code / Path(str(module.__file__)).name)
    output = f"file://{root}/tuned"
    run = TrainRun(
        identity=RunIdentity(namespace="default", name=model, uid="1"),
        module="modelyard_trainer.tuning",
        inputs=[InputRun(name=TRAINING_INPUT, uri=f"file://{folder}/training.npz")],
        output=Place(uri=output),
        tune=TuneRun(
            script="nets.py",
            model=model,
            source=source,
            variants=[VariantRun(name=f"pruned-{ratio}", ratio=ratio) for ratio in RATIOS],
            prune=PruneRun(epochs=6, learning_rate=0.004, method="Taylor", round_to=8),
            distil=DistilRun(temperature=4, alpha=0.7),
        ),
        lineage=lineage.model_copy(update={"parent": source.digest}),
    )
    (root / layout.CONFIG / layout.RUN_FILE).write_text(run.to_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{probe.getsockname()[1]}"
    meeting = {"PET_NODE_RANK": "0", "PET_NNODES": "1", "PET_NPROC_PER_NODE": "1", "PET_RDZV_ID": "1"}
    subprocess.run(
        [sys.executable, "-m", "modelyard_trainer.launch"],
        env={**os.environ, **meeting, "PET_RDZV_ENDPOINT": endpoint, "PET_LOCAL_ADDR": "127.0.0.1"},
        stdout=sys.stderr,
        check=False,
    )
    said = Termination.model_validate_json((root / layout.TERMINATION_LOG).read_bytes())
    if not said.tuned:
        raise SystemExit(f"{said.reason}: {said.message}")
    return [StartRun(name=each.name, uri=artifact_uri(output, each.digest), digest=each.digest) for each in said.tuned]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    types: dict[int, str] = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}
    shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
    datatype = types[value.type.tensor_type.elem_type]
    return TensorSpec.model_validate({"name": value.name, "datatype": datatype, "shape": shape})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
