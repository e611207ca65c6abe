from pathlib import Path

import pytest

from modelyard.contract import layout
from modelyard.storage.errors import StorageError
from modelyard.storage.keys import keys_of, mounted_keys

ENOUGH = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s3cret"}


def test_the_files_of_a_mounted_secret_are_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    folder = tmp_path / "secrets/store"
    folder.mkdir(parents=True)
    for name, text in (*ENOUGH.items(), ("AWS_REGION", "eu-west-1"), ("other", "x")):
        (folder / name).write_text(f"{text}\n")
    keys = mounted_keys("store", "s3")
    assert keys.values == {**ENOUGH, "AWS_REGION": "eu-west-1"}
    assert "s3cret" not in repr(keys)


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        ({}, "SecretMissing", "Secret 'store' is missing or holds no key for s3://; create it"),
        ({"AWS_REGION": "x"}, "SecretInvalid", "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; add it"),
        ({**ENOUGH, "AWS_ENDPOINT_URL": "minio:9000"}, "SecretInvalid", "AWS_ENDPOINT_URL is no http:// or https://"),
    ],
)
def test_what_a_secret_lacks_is_named(values: dict[str, str], reason: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as refused:
        keys_of("store", values, "s3")
    assert refused.value.reason == reason
