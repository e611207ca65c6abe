import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract.artifact import FileEntry, Lineage, Manifest, TensorSpec
from modelyard.contract.digest import digest_of_bytes, digest_of_file, digest_of_json, short

TEXT = "sha256:" + "ab" * 32


def manifest() -> Manifest:
    return Manifest(
        files=[FileEntry(path="model.onnx", size_bytes=3, digest=digest_of_bytes(b"abc"))],
        inputs=[TensorSpec(name="x", datatype="FP32", shape=[-1, 64])],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, 10])],
        metrics={"accuracy": 0.97, "loss": 1e-07},
        frameworks={"torch": "2.10.0"},
        lineage=Lineage(kind="TrainingJob", name="digits", namespace="default", spec_digest=TEXT),
    )


def test_a_digest_is_sha256_in_hexadecimal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert (digest_of_bytes(b"abc"), digest_of_file(tmp_path / "file")) == (expected, expected)


def test_the_order_of_keys_does_not_change_a_digest() -> None:
    assert digest_of_json({"a": 1, "b": [{"d": "ü", "c": None}]}) == digest_of_json(
        {"b": [{"c": None, "d": "ü"}], "a": 1}
    )


def test_json_that_other_tools_cannot_read_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of_json({"loss": float("nan")})


def test_a_manifest_keeps_its_digest_through_a_file() -> None:
    assert Manifest.model_validate_json(manifest().to_json()).digest == manifest().digest


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_metric_keeps_its_digest_through_a_file(value: float) -> None:
    written = manifest().model_copy(update={"metrics": {"m": value}})
    assert Manifest.model_validate_json(written.to_json()).digest == written.digest


def test_the_digest_covers_every_file() -> None:
    other = FileEntry(path="model.onnx", size_bytes=3, digest=digest_of_bytes(b"abd"))
    assert manifest().model_copy(update={"files": [other]}).digest != manifest().digest


def test_a_file_name_never_leaves_the_artefact() -> None:
    for path in ("../model.onnx", "a/b", "/etc/passwd", ".hidden", "", "a\n"):
        with pytest.raises(ValueError, match="path"):
            FileEntry(path=path, size_bytes=0, digest=TEXT)


def test_a_short_digest_is_its_first_hex_digits() -> None:
    assert short(TEXT, 8) == "abababab"
