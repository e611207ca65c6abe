from pathlib import Path

import pytest

from modelyard.storage.errors import StorageError
from modelyard.storage.uri import StorageUri, local_path, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pvc://models", StorageUri("pvc", "models", "")),
        ("pvc://my.models/digits/v1.2", StorageUri("pvc", "my.models", "digits/v1.2")),
        ("pvc://models/.partial/..a", StorageUri("pvc", "models", ".partial/..a")),
        ("file:///srv/models", StorageUri("file", "", "/srv/models")),
        ("s3://models", StorageUri("s3", "models", "")),
        ("gs://my_models/digits", StorageUri("gs", "my_models", "digits")),
        ("az://models/digits", StorageUri("az", "models", "digits")),
        ("s3://my.models/digits/v1.2", StorageUri("s3", "my.models", "digits/v1.2")),
    ],
)
def test_a_uri_has_a_claim_and_a_path_and_is_written_as_it_was_read(text: str, parts: StorageUri) -> None:
    assert (parse(text), str(parse(text))) == (parts, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models",
        "s3://Bucket/models",
        "gcs://bucket/models",
        "s3://ab/models",
        "s3:///models",
        "s3://models/../other",
        "s3://key:secret@models",
        "pvc:///models",
        "pvc://models/",
        "pvc://models//a",
        "pvc://models/..",
        "pvc://models/../other",
        "pvc://models/a/./b",
        "pvc://models/a b",
        "pvc://Models/a",
        "file://",
        "file:///",
        "file:///srv/../etc",
        "pvc://models/a\n",
    ],
)
def test_what_is_no_uri_or_leaves_its_volume_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="is not a storage URI; write pvc://<claim>/<path>") as caught:
        parse(text)
    assert caught.value.reason == "InvalidUri"


@pytest.mark.parametrize(
    "text", ["pvc://models", "pvc://models/digits", "s3://models", "s3://models/digits", "file:///srv"]
)
def test_a_part_is_added_below(text: str) -> None:
    assert str(parse(text) / "a") == f"{text}/a"


def test_a_claim_is_a_folder_of_the_pod(tmp_path: Path) -> None:
    (tmp_path / "volumes" / "models").mkdir(parents=True)
    assert local_path(parse("pvc://models/digits"), tmp_path) == tmp_path / "volumes/models/digits"


def test_a_claim_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="'models' is not mounted here") as caught:
        local_path(parse("pvc://models/digits"), tmp_path)
    assert caught.value.reason == "ClaimNotMounted"


@pytest.mark.parametrize(
    ("text", "parent", "name"),
    [
        ("s3://models/a/eval.npz", "s3://models/a", "eval.npz"),
        ("pvc://models/eval.npz", "pvc://models", "eval.npz"),
        ("file:///eval.npz", "file:///", "eval.npz"),
        ("s3://models", "s3://models", ""),
    ],
)
def test_a_file_has_a_folder_and_a_name(text: str, parent: str, name: str) -> None:
    assert (str(parse(text).parent), parse(text).name) == (parent, name)
