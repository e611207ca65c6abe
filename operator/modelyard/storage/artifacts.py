"""Publish a directory as an artefact, and open one again only if every byte is as its digest says."""

import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract.artifact import MANIFEST_FILE, ArtifactReference, FileEntry, Lineage, Manifest, TensorSpec
from modelyard.contract.digest import Digest, digest_of_file, short
from modelyard.contract.reports import PublishedArtifact, decimal
from modelyard.storage import uri as storage_uri
from modelyard.storage.disk import flush, storage_error
from modelyard.storage.errors import StorageError


def manifest_of(
    directory: Path,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    metrics: Mapping[str, float],
    frameworks: Mapping[str, str],
    lineage: Lineage,
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
    )


def publish(directory: Path, manifest: Manifest, parent_uri: str) -> PublishedArtifact:
    """Copy ``directory`` to ``<parent_uri>/sha256-<12 hex digits>``, verify the copy, then rename it into place.

    Publishing the same content twice gives the same reference. Raises StorageError: StorageFull, PublishFailed,
    DigestMismatch, InvalidUri, ClaimNotMounted; nothing is left behind then.
    """
    digest = manifest.digest
    target_uri = f"{parent_uri.rstrip('/')}/sha256-{short(digest)}"
    reference = PublishedArtifact(
        uri=target_uri,
        digest=digest,
        size_bytes=manifest.size_bytes,
        metrics={name: decimal(value) for name, value in manifest.metrics.items()},
    )
    target = storage_uri.local_path(target_uri)
    if target.is_dir():
        verify(target, digest, target_uri)
        return reference
    try:
        (directory / MANIFEST_FILE).write_text(manifest.to_json())
    except OSError as error:
        raise storage_error(error, target_uri, directory, "PublishFailed") from error
    names = [*(file.path for file in manifest.files), MANIFEST_FILE]
    place_directory(directory, names, target, target_uri, check=lambda copy: verify(copy, digest, target_uri))
    return reference


def place_directory(
    source: Path,
    names: Iterable[str],
    target: Path,
    target_uri: str,
    check: Callable[[Path], object] = lambda _: None,
) -> None:
    """Copy the named files to a temporary folder beside ``target``, ``check`` it, and rename it into place.

    Raises StorageError (StorageFull, PublishFailed, or what ``check`` raises); the temporary folder is gone then.
    """
    temporary = target.parent / f".partial-{uuid.uuid4().hex[:12]}"
    try:
        temporary.mkdir(parents=True)
        for name in names:
            copy = temporary / name
            shutil.copyfile(source / name, copy)
            flush(copy)
        check(temporary)
        temporary.rename(target)
        flush(target.parent)
    except OSError as error:
        raise storage_error(error, target_uri, target.parent, "PublishFailed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_artifact(reference: ArtifactReference) -> tuple[Path, Manifest]:
    """The folder and manifest of a published artefact, every file verified.

    Raises StorageError: ArtifactMissing, DigestMismatch (naming file and digests), InvalidUri, ClaimNotMounted.
    """
    directory = storage_uri.local_path(reference.uri)
    return directory, verify(directory, reference.digest, reference.uri)


def verify(directory: Path, digest: Digest, uri: str) -> Manifest:
    """The manifest in ``directory``, if it has ``digest`` and every file has the digest that the manifest gives.

    Raises StorageError: ArtifactMissing or DigestMismatch.
    """
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise StorageError("ArtifactMissing", f"{uri}: no artefact there ({error.strerror})") from error
    except ValidationError as error:
        raise StorageError("DigestMismatch", f"{uri}/{MANIFEST_FILE} is damaged; expected artefact {digest}") from error
    if manifest.digest != digest:
        raise StorageError("DigestMismatch", f"{uri}: expected artefact {digest}, found {manifest.digest}")
    for file in manifest.files:
        try:
            found = digest_of_file(directory / file.path)
        except OSError as error:
            raise StorageError("ArtifactMissing", f"{uri}/{file.path}: {error.strerror}") from error
        if found != file.digest:
            raise StorageError(
                "DigestMismatch", f"{uri}/{file.path} was changed: expected {file.digest}, found {found}"
            )
    return manifest
