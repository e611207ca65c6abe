"""Artefacts in a bucket of a real S3 server: what is published, read, refused and damaged there."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from modelyard.contract import layout
from modelyard.contract.artifact import MANIFEST_FILE, ArtifactReference, Lineage, Manifest, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.storage import artifacts, bucket
from modelyard.storage.bucket import Bucket
from modelyard.storage.clients import Patience
from modelyard.storage.errors import StorageError
from modelyard.storage.keys import keys_of
from modelyard.storage.store import fetch_file, open_store
from modelyard.storage.uri import parse
from object_stores import BUCKET, ObjectServer, object_server, stalling_at

SECRET = "store"
PARENT = f"s3://{BUCKET}/digits"
WRITER = """
import sys
from pathlib import Path
from test_object_storage import PARENT, SECRET, manifest_of
from modelyard.storage import artifacts
artifacts.publish(Path(sys.argv[1]), manifest_of(Path(sys.argv[1])), PARENT, SECRET)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def pod(tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a pod that mounts the Secret ``store``; the bucket is empty again afterwards."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / layout.WORK).mkdir()
    mount(tmp_path, server.secret)
    yield tmp_path
    for key in server.names(""):
        server.delete(key)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of a model."""
    found = tmp_path / "model"
    found.mkdir()
    (found / "model.onnx").write_bytes(b"onnx" * 100)
    (found / "eval.npz").write_bytes(b"arrays")
    return found


def mount(pod: Path, values: Mapping[str, str], secret: str = SECRET) -> None:
    """Mount a Secret into the pod."""
    folder = pod / layout.SECRETS / secret
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")


def manifest_of(directory: Path) -> Manifest:
    lineage = Lineage(kind="TrainingJob", name="digits", namespace="default", spec_digest=digest_of_bytes(b""))
    tensor = TensorSpec(name="x", datatype="FP32", shape=[-1, 64])
    return artifacts.manifest_of(directory, [tensor], [tensor], {"accuracy": 0.97}, {"torch": "2.10.0"}, lineage)


def published(model: Path) -> ArtifactReference:
    return artifacts.publish(model, manifest_of(model), PARENT, SECRET)


def key_of(reference: ArtifactReference, file: str) -> str:
    return f"{reference.uri.removeprefix(f's3://{BUCKET}/')}/{file}"


def refused(reference: ArtifactReference, secret: str | None = SECRET) -> tuple[str, str]:
    with pytest.raises(StorageError) as caught:
        artifacts.open_artifact(reference, secret)
    return caught.value.reason, str(caught.value)


def test_what_was_published_is_downloaded_into_the_pods_work_folder(pod: Path, model: Path) -> None:
    reference = published(model)
    directory, manifest = artifacts.open_artifact(reference, SECRET)
    assert (reference.uri, manifest) == (f"{PARENT}/sha256-{manifest.digest[7:19]}", manifest_of(model))
    assert directory.is_relative_to(pod / layout.WORK)
    assert {name: (directory / name).read_bytes() for name in ("model.onnx", "eval.npz")} == {
        "model.onnx": b"onnx" * 100,
        "eval.npz": b"arrays",
    }


def test_publishing_twice_and_at_once_gives_the_same_reference(pod: Path, model: Path, server: ObjectServer) -> None:
    with ThreadPoolExecutor(3) as pool:
        references = list(pool.map(lambda _: published(model), range(3)))
    assert references == [published(model)] * 3
    assert server.names(key_of(references[0], "")[:-1]) == ["eval.npz", MANIFEST_FILE, "model.onnx"]
    artifacts.open_artifact(references[0], SECRET)


def test_a_large_file_travels_in_parts(pod: Path, model: Path) -> None:
    content = os.urandom(35 * 1024 * 1024 + 7)
    (model / "model.onnx").write_bytes(content)
    directory, _ = artifacts.open_artifact(published(model), SECRET)
    assert (directory / "model.onnx").read_bytes() == content


def test_a_changed_byte_is_named_with_its_file_and_not_kept(pod: Path, model: Path, server: ObjectServer) -> None:
    reference = published(model)
    server.change_a_byte(key_of(reference, "model.onnx"))
    reason, message = refused(reference)
    assert (reason, message.partition(":")[0]) == ("DigestMismatch", "s3")
    assert f"{reference.uri}/model.onnx was changed: expected sha256:" in message
    assert [path for path in (pod / layout.WORK).rglob("*onnx") if "lock" not in path.name] == []


def test_a_changed_manifest_is_another_artefact(pod: Path, model: Path, server: ObjectServer) -> None:
    reference = published(model)
    key = key_of(reference, MANIFEST_FILE)
    server.write(key, server.read(key).replace(b"0.97", b"0.99"))
    assert refused(reference)[0] == "DigestMismatch"


def test_a_file_that_is_gone_is_missing(pod: Path, model: Path, server: ObjectServer) -> None:
    reference = published(model)
    server.delete(key_of(reference, "eval.npz"))
    assert refused(reference) == ("ArtifactMissing", f"{reference.uri}/eval.npz: no such object")


def test_what_a_killed_writer_left_is_not_seen_and_is_completed_by_the_next(
    pod: Path, model: Path, server: ObjectServer
) -> None:
    digest = manifest_of(model).digest
    reference = ArtifactReference(uri=f"{PARENT}/sha256-{digest[7:19]}", digest=digest)
    words = f"PUT /{BUCKET}/{key_of(reference, MANIFEST_FILE)}".encode()
    with stalling_at(words, server.url) as (way, stalled):
        mount(pod, {"AWS_ENDPOINT_URL": way})
        path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "cluster")])
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(model)], env={**os.environ, "PYTHONPATH": path})
        assert stalled.wait(60)
        writer.kill()
        writer.wait()
    mount(pod, server.secret)
    assert server.names(key_of(reference, "")[:-1]) == ["eval.npz", "model.onnx"]
    assert refused(reference) == ("ArtifactMissing", f"{reference.uri}/{MANIFEST_FILE}: no such object")
    assert published(model).digest == digest
    artifacts.open_artifact(reference, SECRET)


@pytest.mark.parametrize(
    ("changes", "reason", "remedy"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "StorageAccessDenied", "correct the keys of Secret 'other'"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "StorageAccessDenied", "(SignatureDoesNotMatch); correct the keys"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "SecretInvalid", "Secret 'other' lacks AWS_SECRET_ACCESS_KEY; add it"),
        ({"AWS_ENDPOINT_URL": "store:9000"}, "SecretInvalid", "AWS_ENDPOINT_URL is no http:// or https:// address"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "StorageUnreachable", "no answer from http://127.0.0.1:1; see"),
    ],
)
def test_keys_that_are_wrong_are_told_with_the_remedy(
    pod: Path, model: Path, server: ObjectServer, changes: Mapping[str, str], reason: str, remedy: str
) -> None:
    reference = published(model)
    mount(pod, {**server.secret, **changes}, "other")
    for told in (refused(reference, "other"), _refused_publication(model, "other")):
        assert (told[0], remedy in told[1]) == (reason, True), told


def _refused_publication(model: Path, secret: str) -> tuple[str, str]:
    with pytest.raises(StorageError) as caught:
        artifacts.publish(model, manifest_of(model), PARENT, secret)
    return caught.value.reason, str(caught.value)


def test_a_secret_that_is_missing_is_named(pod: Path) -> None:
    with pytest.raises(StorageError, match="Secret 'nobody' is missing or holds no key") as caught:
        open_store(PARENT, "nobody")
    assert caught.value.reason == "SecretMissing"


def test_a_bucket_that_is_missing_is_named(pod: Path, model: Path) -> None:
    uri = "s3://nowhere/digits"
    for action in (
        open_store(uri, SECRET).check,
        lambda: artifacts.publish(model, manifest_of(model), uri, SECRET),
        lambda: artifacts.open_artifact(ArtifactReference(uri=uri, digest=digest_of_bytes(b"")), SECRET),
    ):
        with pytest.raises(StorageError, match="there is no bucket 'nowhere' at http://127") as caught:
            action()
        assert caught.value.reason == "BucketMissing"


def test_an_endpoint_that_never_answers_is_given_up(pod: Path, server: ObjectServer) -> None:
    second = timedelta(seconds=1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {**server.secret, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        bucket = Bucket(parse(PARENT), keys_of(SECRET, values, "s3"), pod, Patience(second, second, second))
        start = time.monotonic()
        with pytest.raises(StorageError, match="no answer from http://127") as caught:
            bucket.fetch("model.onnx")
    assert (caught.value.reason, time.monotonic() - start < 10) == ("StorageUnreachable", True)


def test_keys_of_the_environment_are_used_without_a_secret_and_never_beside_one(
    pod: Path, model: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of something else")
    reference = published(model)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    for name, value in server.secret.items():
        monkeypatch.setenv(name, value)
    _, manifest = artifacts.open_artifact(reference)
    assert manifest == manifest_of(model)


def test_a_single_file_is_verified(pod: Path, server: ObjectServer) -> None:
    server.write("data/calibration.npz", b"samples")
    uri = f"s3://{BUCKET}/data/calibration.npz"
    assert fetch_file(uri, SECRET, digest_of_bytes(b"samples")).read_bytes() == b"samples"
    with pytest.raises(StorageError, match="was changed: expected") as caught:
        fetch_file(uri, SECRET, digest_of_bytes(b"others"))
    assert caught.value.reason == "DigestMismatch"


def test_a_file_that_is_here_already_is_not_downloaded_again(pod: Path, server: ObjectServer) -> None:
    server.write("a/file", b"content")
    digest = digest_of_bytes(b"content")
    first = fetch_file(f"s3://{BUCKET}/a/file", SECRET, digest)
    server.delete("a/file")
    assert fetch_file(f"s3://{BUCKET}/a/file", SECRET, digest) == first


def test_a_full_disk_of_the_pod_is_said_to_be_full(pod: Path, model: Path) -> None:
    (model / "model.onnx").write_bytes(os.urandom(256 * 1024))
    reference = published(model)
    work = pod / layout.WORK
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(work)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        reason, message = refused(reference)
    finally:
        subprocess.run(["umount", str(work)], check=True)
    assert (reason, "no space left" in message) == ("StorageFull", True)


def test_a_download_that_broke_off_goes_on_where_it_did(
    pod: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(40))
    server.write("data/big", data)
    folder = open_store(f"s3://{BUCKET}/data", SECRET)
    monkeypatch.setattr(bucket, "_CHUNK", 8)
    monkeypatch.setattr(bucket, "_PARALLEL", 1)
    real, asked = obstore.get_range, []

    def breaks_at_24(store: S3Store, name: str, *, start: int, end: int) -> object:
        asked.append(start)
        if asked.count(24) == 1 and start == 24:
            raise BaseError("connection closed")
        return real(store, name, start=start, end=end)

    monkeypatch.setattr(obstore, "get_range", breaks_at_24)
    with pytest.raises(StorageError, match=f"s3://{BUCKET}/data/big"):
        folder.fetch("big")
    assert folder.fetch("big", digest_of_bytes(data)).read_bytes() == data
    assert asked == [0, 8, 16, 24, 24, 32]


def test_all_files_of_a_folder_are_listed(pod: Path, server: ObjectServer) -> None:
    for name in ("data/b", "data/deep/a", "database"):
        server.write(name, b"x")
    folder = open_store(f"s3://{BUCKET}/data", SECRET)
    assert folder.files() == ["b", "deep/a"]
    assert folder.fetch("deep/a").read_bytes() == b"x"
