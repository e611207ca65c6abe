import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.contract import layout
from modelyard.contract.artifact import MANIFEST_FILE, ArtifactReference, Lineage, Manifest, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.storage import artifacts
from modelyard.storage.errors import StorageError

PARENT = "pvc://models/digits"


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the claim ``models``."""
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    found = tmp_path / layout.VOLUMES / "models"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of a model."""
    found = tmp_path / "model"
    found.mkdir()
    (found / "model.onnx").write_bytes(b"onnx" * 100)
    (found / "eval.npz").write_bytes(b"arrays")
    return found


def manifest_of(directory: Path) -> Manifest:
    lineage = Lineage(kind="TrainingJob", name="digits", namespace="default", spec_digest=digest_of_bytes(b""))
    tensor = TensorSpec(name="x", datatype="FP32", shape=[-1, 64])
    return artifacts.manifest_of(directory, [tensor], [tensor], {"accuracy": 0.97}, {"torch": "2.10.0"}, lineage)


def refused(published: ArtifactReference) -> tuple[str, str]:
    with pytest.raises(StorageError) as caught:
        artifacts.open_artifact(published)
    return caught.value.reason, str(caught.value)


def test_what_was_published_can_be_opened(volume: Path, model: Path) -> None:
    manifest = manifest_of(model)
    published = artifacts.publish(model, manifest, PARENT)
    directory, opened = artifacts.open_artifact(published)
    assert opened == manifest
    assert sorted(path.name for path in directory.iterdir()) == ["eval.npz", MANIFEST_FILE, "model.onnx"]
    assert (published.size_bytes, published.metrics) == (406, {"accuracy": "0.97"})


def test_publishing_twice_gives_the_same_reference_and_one_folder(volume: Path, model: Path) -> None:
    first = artifacts.publish(model, manifest_of(model), PARENT)
    assert artifacts.publish(model, manifest_of(model), f"{PARENT}/") == first
    assert [path.name for path in (volume / "digits").iterdir()] == [first.uri.rpartition("/")[2]]


def test_a_changed_byte_is_named_with_its_file(volume: Path, model: Path) -> None:
    published = artifacts.publish(model, manifest_of(model), PARENT)
    file = volume / "digits" / published.uri.rpartition("/")[2] / "model.onnx"
    content = bytearray(file.read_bytes())
    before = digest_of_bytes(bytes(content))
    content[7] ^= 1
    file.write_bytes(content)
    after = digest_of_bytes(bytes(content))
    assert refused(published) == (
        "DigestMismatch",
        f"{published.uri}/model.onnx was changed: expected {before}, found {after}",
    )


def test_a_changed_manifest_is_another_artefact(volume: Path, model: Path) -> None:
    published = artifacts.publish(model, manifest_of(model), PARENT)
    file = volume / "digits" / published.uri.rpartition("/")[2] / MANIFEST_FILE
    file.write_text(file.read_text().replace("0.97", "0.99"))
    reason, message = refused(published)
    assert (reason, message[: len(published.uri)]) == ("DigestMismatch", published.uri)


def test_a_manifest_that_is_no_json_is_damaged(volume: Path, model: Path) -> None:
    published = artifacts.publish(model, manifest_of(model), PARENT)
    (volume / "digits" / published.uri.rpartition("/")[2] / MANIFEST_FILE).write_text("{")
    assert refused(published)[0] == "DigestMismatch"


def test_an_artefact_that_is_gone_is_missing(volume: Path, model: Path) -> None:
    published = artifacts.publish(model, manifest_of(model), PARENT)
    directory = volume / "digits" / published.uri.rpartition("/")[2]
    (directory / "eval.npz").unlink()
    assert refused(published) == ("ArtifactMissing", f"{published.uri}/eval.npz: No such file or directory")
    shutil.rmtree(directory)
    assert refused(published)[0] == "ArtifactMissing"


def test_publishing_over_a_damaged_copy_is_refused(volume: Path, model: Path) -> None:
    published = artifacts.publish(model, manifest_of(model), PARENT)
    (volume / "digits" / published.uri.rpartition("/")[2] / "eval.npz").write_bytes(b"other")
    with pytest.raises(StorageError, match=r"eval\.npz was changed"):
        artifacts.publish(model, manifest_of(model), PARENT)


def test_files_that_changed_since_the_manifest_are_not_published(volume: Path, model: Path) -> None:
    manifest = manifest_of(model)
    (model / "eval.npz").write_bytes(b"other")
    with pytest.raises(StorageError, match=r"eval\.npz was changed"):
        artifacts.publish(model, manifest, PARENT)
    assert list((volume / "digits").iterdir()) == []


@pytest.mark.parametrize("parent", ["pvc://models/../../etc", "file:///tmp/../etc", "pvc://models/.."])
def test_nothing_is_published_outside_a_volume(volume: Path, model: Path, parent: str) -> None:
    with pytest.raises(StorageError) as caught:
        artifacts.publish(model, manifest_of(model), parent)
    assert caught.value.reason == "InvalidUri"


@pytest.fixture
def small_volume(volume: Path) -> Iterator[Path]:
    """The claim ``models`` on a file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(volume)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield volume
    finally:
        subprocess.run(["umount", str(volume)], check=True)


def test_a_full_volume_is_said_to_be_full_and_left_as_it_was(small_volume: Path, model: Path) -> None:
    (model / "model.onnx").write_bytes(os.urandom(256 * 1024))
    with pytest.raises(StorageError, match="free space or enlarge the volume, then retry") as caught:
        artifacts.publish(model, manifest_of(model), PARENT)
    assert caught.value.reason == "StorageFull"
    assert [path for path in small_volume.rglob("*") if path.is_file()] == []
