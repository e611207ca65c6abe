"""docs/adding-a-kind.md is true: its steps, followed on a copy of the code, give a kind that works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from laptops import claim
from modelyard.contract.artifact import ArtifactReference, Lineage
from modelyard.storage.artifacts import manifest_of, publish

REPOSITORY = Path(__file__).parents[2]
STEP = re.compile(r"^`operator/(modelyard/kinds/\S+\.py)`\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def follow_the_page(copy: Path) -> None:
    """Steps 1 to 5."""
    page = (REPOSITORY / "docs/adding-a-kind.md").read_text()
    files = STEP.findall(page)
    assert len(files) == 4
    for name, text in files:
        path = copy / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    kinds = copy / "modelyard/kinds/__init__.py"
    text = kinds.read_text()
    changed = text.replace("kinds import compressionjob", "kinds import artifactcheck, compressionjob")
    changed = changed.replace("modelservice.KIND)", "modelservice.KIND, artifactcheck.KIND)")
    assert changed.count("artifactcheck") == 2
    kinds.write_text(changed)


def published(state: Path) -> ArtifactReference:
    """A small artefact on the claim ``models``."""
    source = state.parent / "artefact"
    source.mkdir()
    (source / "model.onnx").write_bytes(b"bytes of a model")
    lineage = Lineage(kind="TrainingJob", name="x", namespace="default", spec_digest=f"sha256:{'0' * 64}")
    (state / "volumes/models").mkdir(parents=True)
    manifest = manifest_of(source, [], [], {}, {}, lineage)
    there = publish(source, manifest, f"file://{state}/volumes/models/x")
    return ArtifactReference(uri=there.uri.replace(f"file://{state}/volumes/", "pvc://"), digest=there.digest)


def test_the_page_gives_a_kind_that_works(tmp_path: Path) -> None:
    copy, state = tmp_path / "copy", tmp_path / "state"
    shutil.copytree(REPOSITORY / "operator", copy)
    follow_the_page(copy)
    environment = {**os.environ, "PYTHONPATH": str(copy), "MODELYARD_STATE": str(state)}

    def modelyard(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelyard", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    generated = modelyard("generate", "--root", str(tmp_path))
    assert generated.returncode == 0, generated.stderr
    crd = yaml.safe_load((tmp_path / "crds/modelyard.dev_artifactchecks.yaml").read_text())
    assert crd["spec"]["names"]["kind"] == "ArtifactCheck"

    artifact = published(state)
    check = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ArtifactCheck",
        "metadata": {"name": "x"},
        "spec": {"artifact": {"uri": artifact.uri, "digest": artifact.digest}},
    }
    file = tmp_path / "check.yaml"
    file.write_text(yaml.safe_dump_all([claim(), check]))
    ran = modelyard("run", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = json.loads(modelyard("get", "acheck/x", "-o", "json").stdout)
    assert (shown["status"]["state"], shown["status"]["message"]) == ("Complete", "every file has its digest")

    (state / "volumes" / artifact.uri.removeprefix("pvc://") / "model.onnx").write_bytes(b"other bytes")
    assert modelyard("delete", "acheck/x").returncode == 0
    again = modelyard("run", str(file))
    assert again.returncode == 1
    assert "not the bytes of its digest" in again.stdout
