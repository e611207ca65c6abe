"""Data and code that each pod fetches before its ranks start."""

import hashlib
import subprocess
from pathlib import Path

from laptops import Laptop, claim, code, training

DATA = b"seven\n"
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
SCRIPT = """
import modelyard_trainer, torch
with modelyard_trainer.run() as run:
    print("read", run.input("data").read_text().strip())
    run.report(step=1, total_steps=1, loss=0.5)
    run.save(torch.nn.Linear(2, 1), example_inputs=torch.zeros(2, 2), metrics={"loss": 0.5})
"""


def put(laptop: Laptop) -> None:
    """The data on the claim, before the claim is known."""
    folder = laptop.state / "volumes" / "models"
    folder.mkdir(parents=True)
    (folder / "data.txt").write_bytes(DATA)


def test_inputs_are_fetched_and_checked_and_named_in_the_status(laptop: Laptop) -> None:
    put(laptop)
    inputs = [{"name": "data", "uri": "pvc://models/data.txt", "digest": DIGEST}]
    result = laptop("run", laptop.file(claim(), code(SCRIPT), training(inputs=inputs)))
    assert result.code == 0, result.out + result.err
    assert "read seven" in laptop("logs", "tjob/toy").out
    assert laptop.status("tjob/toy")["resolved"]["inputs"] == [
        {"name": "data", "digest": DIGEST, "sizeBytes": len(DATA)}
    ]


def test_other_bytes_than_the_spec_names_end_the_job(laptop: Laptop) -> None:
    put(laptop)
    inputs = [{"name": "data", "uri": "pvc://models/data.txt", "digest": f"sha256:{64 * '0'}"}]
    result = laptop("run", laptop.file(claim(), code(SCRIPT), training(inputs=inputs, restart={"maxRestarts": 3})))
    assert result.code != 0
    status = laptop.status("tjob/toy")
    assert (status["state"], status["attempt"]) == ("Failed", 1)
    assert "data" in status["message"], status["message"]


def test_code_comes_from_a_commit_of_a_repository(laptop: Laptop, tmp_path: Path) -> None:
    put(laptop)
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *arguments], cwd=repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (repository / "train.py").write_text(SCRIPT)
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    commit = git("rev-parse", "HEAD")
    (repository / "train.py").write_text("raise SystemExit('another commit')")
    git("commit", "--quiet", "-am", "two")
    inputs = [{"name": "data", "uri": "pvc://models/data.txt"}]
    source = {"git": {"url": f"file://{repository}", "commit": commit}}
    result = laptop("run", laptop.file(claim(), training(inputs=inputs, code=source)))
    assert result.code == 0, result.out + result.err + laptop("logs", "tjob/toy").out
