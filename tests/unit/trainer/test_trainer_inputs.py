"""Inputs and code that are fetched before the ranks start."""

import os
import subprocess
from pathlib import Path

import pytest

from modelyard.contract.digest import digest_of_bytes, digest_of_json
from modelyard.contract.runs import GitRun, InputRun
from modelyard.storage.errors import StorageError
from modelyard_trainer import checkout, inputs
from modelyard_trainer.errors import CodeNotFetchedError
from modelyard_trainer.workspace import Workspace

FILE = digest_of_bytes(b"abc")
FOLDER = digest_of_json({"a.txt": FILE, "deep/b.txt": digest_of_bytes(b"")})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A pod with a claim that holds a folder."""
    monkeypatch.setenv("MODELYARD_ROOT", str(tmp_path))
    data = tmp_path / "volumes" / "claim" / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.txt").write_bytes(b"abc")
    (data / "deep" / "b.txt").write_bytes(b"")
    (tmp_path / "work" / "tmp").mkdir(parents=True)
    return Workspace(tmp_path / "work")


def test_a_folder_and_a_file_lie_under_their_names_and_their_digests_are_told(work: Workspace) -> None:
    asked = [
        InputRun(name="all", uri="pvc://claim/data", digest=FOLDER),
        InputRun(name="one", uri="pvc://claim/data/a.txt", digest=FILE),
    ]
    reports = inputs.fetch(asked, work)
    assert [(report.name, report.digest, report.size_bytes) for report in reports] == [
        ("all", FOLDER, 3),
        ("one", FILE, 3),
    ]
    assert inputs.fetched(work) == reports
    assert (inputs.path_of("all") / "a.txt").read_text() == inputs.path_of("one").read_text() == "abc"


def test_another_digest_is_refused_with_both(work: Workspace) -> None:
    with pytest.raises(StorageError, match=rf"input all: .* has {FOLDER}, but the spec asks for {FILE}") as refused:
        inputs.fetch([InputRun(name="all", uri="pvc://claim/data", digest=FILE)], work)
    assert refused.value.reason == "DigestMismatch"


def test_an_input_that_is_not_there_is_named(work: Workspace) -> None:
    with pytest.raises(StorageError, match=r"input one: there is nothing at pvc://claim/data/c\.txt"):
        inputs.fetch([InputRun(name="one", uri="pvc://claim/data/c.txt")], work)


@pytest.mark.parametrize("name", ["dtaa", "../work"])
def test_a_name_that_is_no_input_is_refused_with_those_that_are(work: Workspace, name: str) -> None:
    inputs.fetch([InputRun(name="data", uri="pvc://claim/data")], work)
    with pytest.raises(ValueError, match=r"there is no input .*; spec\.inputs has: data"):
        inputs.path_of(name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of ``train.py``, of which HEAD is the second."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "init", "--quiet")
    for text in ("first", "second"):
        (folder / "train.py").write_text(text)
        run(folder, "add", ".")
        run(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", text)
    return folder


def run(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_one_commit_is_checked_out_without_its_history(work: Workspace, repository: Path) -> None:
    git = GitRun(url=f"file://{repository}", commit=run(repository, "rev-parse", "HEAD"))
    code = checkout.check_out(git, work)
    assert (code / "train.py").read_text() == "second"
    assert run(code, "rev-list", "--count", "HEAD") == "1"


def test_an_earlier_commit_is_as_good(work: Workspace, repository: Path) -> None:
    code = checkout.check_out(GitRun(url=f"file://{repository}", commit=run(repository, "rev-parse", "HEAD^")), work)
    assert (code / "train.py").read_text() == "first"


def test_a_commit_that_is_not_there_is_named(work: Workspace, repository: Path) -> None:
    with pytest.raises(CodeNotFetchedError, match=f"file://{repository} at {'0' * 40}: git fetch: "):
        checkout.check_out(GitRun(url=f"file://{repository}", commit="0" * 40), work)


def test_keys_stand_in_no_argument_and_git_reads_them_from_the_secret(work: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "forge"
    secret.mkdir(parents=True)
    (secret / "username").write_text("ann")
    (secret / "password").write_text("t0ken")
    environment = checkout._environment(GitRun(url="https://forge/a", commit="0" * 40, secret="forge"), work)
    assert "t0ken" not in "".join(value for name, value in environment.items() if name not in os.environ)
    for question, answer in (("Username for 'https://forge': ", "ann"), ("Password for ...", "t0ken")):
        asked = subprocess.run(
            [environment["GIT_ASKPASS"], question], env=environment, check=True, capture_output=True, text=True
        )
        assert asked.stdout == answer


def test_a_url_with_a_password_is_refused_without_repeating_it(work: Workspace) -> None:
    with pytest.raises(CodeNotFetchedError) as refused:
        checkout.check_out(GitRun(url="https://ann:t0ken@forge/a", commit="0" * 40), work)
    assert "t0ken" not in str(refused.value)
