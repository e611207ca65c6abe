"""gs:// and az:// beside s3://: what a store must do, against servers of this machine.

Google's XML API is the S3 protocol but for the signature, here a token that the S3 server takes unread: so it answers.
Azure's is Azurite, Microsoft's own emulator: ``npm install azurite``, and AZURITE names its ``azurite-blob``.
"""

import base64
import hmac
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelyard.contract import layout
from modelyard.contract.digest import digest_of_bytes
from modelyard.storage.bucket import Bucket
from modelyard.storage.errors import StorageError
from modelyard.storage.keys import keys_of
from modelyard.storage.uri import Scheme, parse
from modelyard_trainer.checkpoint import Checkpoints
from modelyard_trainer.shards import MARK, Box, Part
from object_stores import BUCKET, free_port, object_server
from waiting import until

ACCOUNT, KEY = "modelyard", base64.b64encode(b"a key of this test").decode()
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Refusal:
    """Wrong keys, and what is said of them."""

    keys: Mapping[str, str]
    reason: str
    message: str


@dataclass(frozen=True)
class Server:
    """A store of one kind, with the bucket ``models``."""

    scheme: Scheme
    secret: Mapping[str, str]
    refusal: Refusal

    def bucket(self, folder: Path, path: str = "digits", bucket: str = BUCKET, **changed: str) -> Bucket:
        """A folder of a bucket of it; ``changed`` are other keys."""
        keys = keys_of("store", {**self.secret, **changed}, self.scheme)
        return Bucket(parse(f"{self.scheme}://{bucket}/{path}"), keys, folder / layout.TRANSFERS)


def google(folder: Path) -> Iterator[Server]:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with object_server(folder, signed=False) as found:
        account = {"client_email": "a@b", "private_key": pem, "private_key_id": "1", "gcs_base_url": found.url}
        unreadable = "Secret 'store' has no GOOGLE_SERVICE_ACCOUNT_KEY that can be used"
        refusal = Refusal({"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}, "SecretInvalid", unreadable)
        yield Server("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}, refusal)


def azure(folder: Path) -> Iterator[Server]:
    program = os.environ.get("AZURITE")
    if program is None:
        pytest.skip("AZURITE names no emulator: npm install azurite, then AZURITE=node_modules/.bin/azurite-blob")
    port = free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    process = subprocess.Popen(
        [program, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
    )
    try:
        until(lambda: _create_container(url), "Azurite answers", 60)
        names = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}
        wrong = {"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"another key").decode()}
        refusal = Refusal(wrong, "StorageAccessDenied", "correct the keys of Secret 'store'")
        yield Server("az", {**names, "AZURE_STORAGE_ENDPOINT": url}, refusal)
    finally:
        process.kill()
        process.wait()


def _create_container(url: str) -> bool:
    """By a request that is signed with the account's key (SharedKey); whether there was an answer."""
    date = formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    signed = "PUT" + 12 * "\n" + f"{lines}/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    mac = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), "sha256")).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{mac}"
    try:
        httpx.put(f"{url}/{BUCKET}", params={"restype": "container"}, headers=headers).raise_for_status()
    except httpx.TransportError:
        return False
    return True


@pytest.fixture(scope="module", params=[google, azure], ids=["gs", "az"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from request.param(tmp_path_factory.mktemp("server"))


@pytest.fixture
def bucket(server: Server, tmp_path: Path) -> Iterator[Bucket]:
    found = server.bucket(tmp_path)
    yield found
    found.remove()


def test_checkpoints_are_kept_and_loaded_and_half_ones_do_not_count(bucket: Bucket) -> None:
    checkpoints = Checkpoints(store=bucket, job_uid="uid-1", attempt=1, keep_latest=2)
    for step in (1, 2, 3):
        report = checkpoints.commit(step, {"weight": torch.full((3,), float(step))})
    with (bucket / "uid-1" / "step-00000009").put("state.pt") as path:
        path.write_bytes(b"half")
    assert checkpoints.newest() == report
    assert checkpoints.load(report, CPU)[0]["weight"].tolist() == [3.0, 3.0, 3.0]
    assert sorted((bucket / "uid-1").folders()) == ["step-00000002", "step-00000003", "step-00000009"]


def test_a_sharded_checkpoint_is_whole_again(bucket: Bucket) -> None:
    checkpoints = Checkpoints(store=bucket, job_uid="uid-1", attempt=1, keep_latest=2)
    frame = {"weight": {MARK: "weight", "shape": [4], "dtype": "float32"}}
    entries = []
    for rank in (0, 1):
        box = Box(offsets=[2 * rank], sizes=[2])
        part = Part(frame, {"weight": torch.full((2,), float(rank))}, {"weight": box})
        entries.append(checkpoints.write_part(1, part, rank))
    report = checkpoints.commit_parts(1, frame, entries, None, None)
    assert checkpoints.newest() == report
    assert checkpoints.load(report, CPU)[0]["weight"].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_files_larger_than_a_request_are_the_same_on_the_way_back(bucket: Bucket) -> None:
    content = os.urandom(40 * 1024 * 1024)
    with bucket.put("data.bin") as path:
        path.write_bytes(content)
    assert bucket.files() == ["data.bin"]
    assert bucket.fetch("data.bin", digest_of_bytes(content)).read_bytes() == content


def test_what_is_not_there_is_named(bucket: Bucket, server: Server, tmp_path: Path) -> None:
    bucket.check()
    assert not bucket.has("nothing")
    with pytest.raises(StorageError, match="no such object") as missing:
        bucket.fetch("nothing")
    assert missing.value.reason == "FileMissing"
    with pytest.raises(StorageError, match="there is no bucket 'other'") as absent:
        server.bucket(tmp_path, bucket="other").check()
    assert absent.value.reason == "BucketMissing"


def test_a_wrong_key_is_refused_with_the_secrets_name(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=server.refusal.message) as refused:
        server.bucket(tmp_path, **server.refusal.keys).check()
    assert refused.value.reason == server.refusal.reason
