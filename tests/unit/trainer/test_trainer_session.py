"""What a script sees of ``run`` in a pod."""

from pathlib import Path

import pytest
import torch

import modelyard_trainer
from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import ProgressReport
from modelyard.contract.runs import CheckpointRun, RunIdentity, TrainRun


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELYARD_ROOT", str(tmp_path))
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    for folder in ("config", "work", "volumes/ckpt"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def ask(pod: Path, *, attempt: int = 1, checkpoint: CheckpointRun | None = None) -> None:
    run = TrainRun(
        identity=RunIdentity(namespace="default", name="toy", uid="uid-1", attempt=attempt),
        script="train.py",
        checkpoint=checkpoint,
        lineage=Lineage(kind="TrainingJob", name="toy", namespace="default", spec_digest=f"sha256:{'1' * 64}"),
    )
    (pod / "config" / "run.json").write_text(run.to_json())


def reported(pod: Path) -> ProgressReport:
    return ProgressReport.model_validate_json((pod / "work" / "progress.json").read_bytes())


def test_a_later_attempt_resumes_where_the_last_checkpoint_was_committed(pod: Path) -> None:
    ask(pod, checkpoint=CheckpointRun(uri="pvc://ckpt/toy"))
    with modelyard_trainer.run() as run:
        assert run.resume() is None
        run.report(step=4, total_steps=8, loss=0.5)
        run.checkpoint(step=4, weight=torch.ones(2))
        run.report(step=5, total_steps=8, loss=0.25)
    report = reported(pod)
    assert (report.step, report.metrics) == (5, {"loss": "0.25"})
    assert report.checkpoint is not None
    assert report.checkpoint.uri == "pvc://ckpt/toy/uid-1/step-00000004"

    ask(pod, attempt=2, checkpoint=CheckpointRun(uri="pvc://ckpt/toy"))
    with modelyard_trainer.run() as run:
        state = run.resume()
    assert state is not None
    assert (state["step"], state["weight"].tolist()) == (4, [1.0, 1.0])


def test_resume_never_starts_afresh(pod: Path) -> None:
    ask(pod, checkpoint=CheckpointRun(uri="pvc://ckpt/toy", resume="Never"))
    for _ in range(2):
        with modelyard_trainer.run() as run:
            assert run.resume() is None
            run.checkpoint(step=1, weight=torch.ones(2))


def test_without_a_place_for_checkpoints_the_log_says_so_once(pod: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(pod)
    with modelyard_trainer.run() as run:
        run.checkpoint(step=1, weight=torch.ones(2))
        run.checkpoint(step=2, weight=torch.ones(2))
        assert run.resume() is None
    hint = "modelyard: run.checkpoint does nothing, as the job has no spec.checkpoint\n"
    assert capsys.readouterr().out == hint
    assert list((pod / "volumes" / "ckpt").iterdir()) == []


def test_what_was_reported_last_is_written_although_the_script_fails(pod: Path) -> None:
    ask(pod)

    def train() -> None:
        with modelyard_trainer.run() as run:
            run.report(step=1)
            run.report(step=2)
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        train()
    assert reported(pod).step == 2
