"""Publish a directory as an artefact, and open one again only if every byte is as its digest says."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract.artifact import (
    MANIFEST_FILE,
    ArtifactReference,
    FileEntry,
    Lineage,
    Manifest,
    Provenance,
    TensorSpec,
    artifact_uri,
)
from modelyard.contract.decimals import decimal
from modelyard.contract.digest import Digest, digest_of_file
from modelyard.contract.reports import PublishedArtifact
from modelyard.storage.disk import storage_error
from modelyard.storage.errors import MissingError, StorageError
from modelyard.storage.local import LocalFolder
from modelyard.storage.store import Store, open_store


def manifest_of(
    directory: Path,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    metrics: Mapping[str, float],
    frameworks: Mapping[str, str],
    lineage: Lineage,
    provenance: Provenance | None = None,
) -> Manifest:
    """The manifest of the files that lie in ``directory`` now. Raises OSError."""
    files = [
        FileEntry(path=path.name, size_bytes=path.stat().st_size, digest=digest_of_file(path))
        for path in sorted(directory.iterdir())
        if path.name != MANIFEST_FILE
    ]
    return Manifest(
        files=files,
        inputs=inputs,
        outputs=outputs,
        metrics=dict(metrics),
        frameworks=dict(frameworks),
        lineage=lineage,
        provenance=provenance,
    )


def publish(directory: Path, manifest: Manifest, parent_uri: str, secret: str | None = None) -> PublishedArtifact:
    """Put a copy of ``directory`` to ``<parent_uri>/sha256-<12 hex digits>``, verified, so that it appears as a whole.

    Publishing the same content twice, or at once from two places, gives the same reference. Raises StorageError
    (StorageFull, PublishFailed, DigestMismatch, what ``open_store`` and the storage raise); a reader sees nothing then.
    """
    digest = manifest.digest
    target_uri = artifact_uri(parent_uri, digest)
    reference = PublishedArtifact(
        uri=target_uri,
        digest=digest,
        size_bytes=manifest.size_bytes,
        metrics={name: decimal(value) for name, value in manifest.metrics.items()},
    )
    store = open_store(target_uri, secret)
    if store.has(MANIFEST_FILE):
        verify(store, digest)
        return reference
    try:
        with store.staged(MANIFEST_FILE, replace=False) as staging:
            for file in manifest.files:
                shutil.copyfile(directory / file.path, staging / file.path)
            (staging / MANIFEST_FILE).write_text(manifest.to_json())
            verify(LocalFolder(target_uri, staging), digest)
    except OSError as error:
        raise storage_error(error, target_uri, store.directory, "PublishFailed") from error
    return reference


def open_artifact(reference: ArtifactReference, secret: str | None = None) -> tuple[Path, Manifest]:
    """The folder in this pod and the manifest of a published artefact, every file verified.

    Raises StorageError: ArtifactMissing, DigestMismatch (naming file and digests), and what ``open_store`` and the
    storage raise.
    """
    store = open_store(reference.uri, secret)
    return store.directory, verify(store, reference.digest)


def verify(store: Store, digest: Digest) -> Manifest:
    """The manifest in ``store``, if it has ``digest`` and every file has the digest that the manifest gives.

    The files are in ``store.directory`` then. Raises StorageError (ArtifactMissing, DigestMismatch, what the storage
    raises).
    """
    try:
        manifest = Manifest.model_validate_json(store.fetch(MANIFEST_FILE).read_bytes())
        if manifest.digest != digest:
            raise StorageError("DigestMismatch", f"{store.uri}: expected artefact {digest}, found {manifest.digest}")
        for file in manifest.files:
            store.fetch(file.path, file.digest)
    except MissingError as error:
        raise StorageError("ArtifactMissing", str(error)) from error
    except ValidationError as error:
        raise StorageError(
            "DigestMismatch", f"{store.uri}/{MANIFEST_FILE} is damaged; expected artefact {digest}"
        ) from error
    return manifest
