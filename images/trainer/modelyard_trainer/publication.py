"""Publish what ``run.save`` left, with its manifest."""

import platform
from importlib import metadata
from pathlib import PurePath

from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import Place
from modelyard.storage import artifacts
from modelyard_trainer.errors import NothingSavedError
from modelyard_trainer.saved import Saved
from modelyard_trainer.workspace import Workspace

_WRITERS = ("torch", "onnx", "onnxscript")


def publish(workspace: Workspace, entrypoint: str, lineage: Lineage, output: Place) -> PublishedArtifact:
    """Publish the saved model under ``output`` and return its reference.

    Raises NothingSavedError if the script, whose name is ``entrypoint``, did not save, and StorageError; then nothing
    is published.
    """
    if not workspace.saved.is_file():
        raise NothingSavedError(
            f"{PurePath(entrypoint).name} ended without run.save(...); call it, or remove spec.output"
        )
    saved = Saved.model_validate_json(workspace.saved.read_bytes())
    manifest = artifacts.manifest_of(
        workspace.artifact,
        inputs=saved.inputs,
        outputs=saved.outputs,
        metrics=saved.metrics,
        frameworks={"python": platform.python_version()} | {name: metadata.version(name) for name in _WRITERS},
        lineage=lineage,
    )
    return artifacts.publish(workspace.artifact, manifest, output.uri, output.secret)
