"""Publish what ``run.save`` left, with its manifest."""

import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import PurePath

from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import PublishedArtifact
from modelyard.contract.runs import Place
from modelyard.storage import artifacts
from modelyard.storage.errors import StorageError
from modelyard_trainer.console import say
from modelyard_trainer.errors import NothingSavedError
from modelyard_trainer.saved import Saved
from modelyard_trainer.workspace import Workspace

_WRITERS = ("torch", "onnx", "onnxscript")


UPLOAD_FAILED = "UploadFailed"
"""The model is trained and saved, but did not get to where it belongs; the next attempt goes on from the checkpoint."""
_PASSING = frozenset({"StorageUnreachable", "StorageFailed", "PublishFailed"})
_PAUSES = (1.0, 5.0, 20.0)
"""Seconds before another try."""


def publish(workspace: Workspace, entrypoint: str, lineage: Lineage, output: Place) -> PublishedArtifact:
    """Publish the saved model under ``output`` and return its reference.

    Raises NothingSavedError if the script, whose name is ``entrypoint``, did not save, and StorageError (UploadFailed
    for storage that was gone for half a minute); then nothing is published.
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
    return _patiently(lambda: artifacts.publish(workspace.artifact, manifest, output.uri, output.secret))


def _patiently(upload: Callable[[], PublishedArtifact]) -> PublishedArtifact:
    """Training again costs more than waiting. Raises StorageError: UploadFailed for what may pass, else as it is."""
    for pause in (*_PAUSES, None):
        try:
            return upload()
        except StorageError as error:
            if error.reason not in _PASSING:
                raise
            if pause is None:
                raise StorageError(UPLOAD_FAILED, str(error)) from error
            say(f"modelyard: the model is not published: {error}; another try in {pause:g} s")
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")
