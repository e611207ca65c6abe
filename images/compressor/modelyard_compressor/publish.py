"""How does the selected candidate become an artefact? Re-loaded and evaluated where it lies last, then published."""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from modelyard.contract.artifact import CALIBRATION_FILE, EVALUATION_FILE, MODEL_FILE, Provenance
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import CompressRun
from modelyard.storage import artifacts
from modelyard.storage.errors import StorageError
from modelyard_compressor import model_files
from modelyard_compressor.data import DataSet
from modelyard_compressor.measure import Subject, load
from modelyard_compressor.source import Source

FRAMEWORKS = ("numpy", "onnx", "onnxruntime")


def publish(
    selected: Subject,
    metrics: Mapping[str, float],
    provenance: Provenance,
    source: Source,
    run: CompressRun,
    evaluation: DataSet,
    scratch: Path,
) -> PublishedArtifact:
    """Publish the candidate under ``run.output``, with the source's own data files.

    The artefact is put together in the empty folder ``scratch``. Its ``metrics`` hold no latency: the same job on the
    same data gives the same bytes, hence the same digest. Raises StorageError, among them CandidateChanged where the
    copy does not answer as the candidate did when it was measured.
    """
    model_files.copy(selected.path, scratch / MODEL_FILE)
    for name in (CALIBRATION_FILE, EVALUATION_FILE):
        if source.manifest.file(name) is not None:
            shutil.copyfile(source.directory / name, scratch / name)
    copy = load(scratch / MODEL_FILE, run, evaluation)
    if not np.allclose(copy.scores, selected.scores):
        raise StorageError(
            "CandidateChanged", f"{MODEL_FILE} answers differently than when it was measured; check the volume, retry"
        )
    manifest = artifacts.manifest_of(
        scratch,
        inputs=source.manifest.inputs,
        outputs=source.manifest.outputs,
        metrics=metrics,
        frameworks={name: version(name) for name in FRAMEWORKS},
        lineage=run.lineage.model_copy(update={"parent": source.reference.digest}),
        provenance=provenance,
    )
    return artifacts.publish(scratch, manifest, run.output.uri, run.output.secret)
