"""A published model: a directory of files and the manifest that names each of them by digest."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.contract.base import Document
from modelyard.contract.digest import Digest, digest_of_json, short

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "weights.safetensors"
EVALUATION_FILE = "eval.npz"
"""Arrays named as the model's inputs, samples first, and ``labels``."""
CALIBRATION_FILE = "calibration.npz"
"""Arrays named as the model's inputs, samples first. Never the evaluation set."""
LABELS = "labels"

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip
"""Tensor datatypes as the Open Inference Protocol names them."""


class TensorSpec(Document):
    """One input or output of a model."""

    name: str
    datatype: Datatype
    shape: list[int]
    """One number a dimension; -1 where it varies."""


class FileEntry(Document):
    """One file of an artefact."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
    """The file's name. An artefact is flat, so a name never leaves its directory."""
    size_bytes: int
    digest: Digest


class Lineage(Document):
    """Where an artefact came from, so that the chain of digests can be followed back to the code."""

    kind: str
    """The kind that made it: TrainingJob or CompressionJob."""
    name: str
    namespace: str
    spec_digest: Digest
    """Digest of the job's spec, defaults included."""
    code_digest: Digest | None = None
    """Digest of the training code that the job mounted."""
    image: str | None = None
    parent: Digest | None = None
    """Digest of the artefact that this one was made from."""


class Provenance(Document):
    """What a compressed model was made with, beside its source, its spec and the versions of packages."""

    trial: str
    """The way of compression that was selected; Baseline where the source model itself was published."""
    recipe_digest: Digest
    """Digest of the steps, the search and the metric."""
    excluded: list[str] = []
    """Nodes that were left in float for the accuracy gate."""
    calibration_digest: Digest | None = None
    """Digest of the calibration file; absent where none was used."""
    evaluation_digest: Digest
    """Digest of the evaluation file."""
    image_digest: Digest | None = None
    """Digest of the compressor's image, where the spec or the operator named it by digest."""
    cpu_flags: list[str] = []
    """The flags of the CPU that the model was made and measured on which decide how numbers are multiplied."""


class Manifest(Document):
    """What ``manifest.json`` holds. Its digest is the artefact's digest.

    It holds no time and no path, so equal content gives an equal digest.
    """

    schema_version: Literal[1] = 1
    format: Literal["Onnx"] = "Onnx"
    files: list[FileEntry]
    """Sorted by path."""
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    metrics: dict[str, float]
    frameworks: dict[str, str]
    """Versions of the packages that wrote the files, by distribution name."""
    lineage: Lineage
    provenance: Provenance | None = None
    """Of compressed models."""

    @property
    def digest(self) -> Digest:
        """The artefact digest: sha256 of the canonical JSON of this manifest."""
        return digest_of_json(self.model_dump(mode="json", exclude_none=True))

    @property
    def size_bytes(self) -> int:
        """The size of all files, without the manifest."""
        return sum(file.size_bytes for file in self.files)

    def file(self, path: str) -> FileEntry | None:
        """The entry of that name, or None."""
        return next((file for file in self.files if file.path == path), None)


class ArtifactReference(Document):
    """An artefact named by place and content."""

    uri: str
    """Where it lies."""
    digest: Digest
    """Its digest: that of its manifest."""


def artifact_uri(parent: str, digest: Digest) -> str:
    """Where an artefact lies that was published below the folder ``parent``."""
    return f"{parent.rstrip('/')}/sha256-{short(digest)}"
