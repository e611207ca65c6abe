"""What is to be compressed? A published artefact, every byte verified."""

from dataclasses import dataclass
from pathlib import Path

from modelyard.contract.artifact import MODEL_FILE, ArtifactReference, Manifest
from modelyard.contract.runs import ArtifactPlace
from modelyard.storage.artifacts import open_artifact
from modelyard_compressor import model_files
from modelyard_compressor.failures import CompressionError


@dataclass(frozen=True)
class Source:
    """A verified artefact with a model."""

    reference: ArtifactReference
    directory: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.directory / MODEL_FILE

    @property
    def model_bytes(self) -> int:
        """The size of the ONNX file, and of the one with its weights where they are apart."""
        return model_files.size(self.model)


def open_source(place: ArtifactPlace) -> Source:
    """The artefact at ``place``, in this pod.

    Raises StorageError (ArtifactMissing, DigestMismatch, what ``open_store`` and the storage raise) and
    CompressionError (ModelMissing, SignatureMissing).
    """
    directory, manifest = open_artifact(place, place.secret)
    if manifest.file(MODEL_FILE) is None:
        raise CompressionError(
            "ModelMissing", f"spec.source: {place.uri} holds no {MODEL_FILE}; let the training save its model"
        )
    if not manifest.inputs or not manifest.outputs:
        raise CompressionError(
            "SignatureMissing",
            f"spec.source: the manifest of {place.uri} names no {'outputs' if manifest.inputs else 'inputs'}; "
            "publish it with the signature of its model, as `save` of the trainer does",
        )
    return Source(ArtifactReference(uri=place.uri, digest=place.digest), directory, manifest)
