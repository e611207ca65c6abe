"""The examples of docs/training.md, as pods run them."""

from pathlib import Path

import pytest

from modelyard.contract.runs import Objective
from pods import Attempts

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "training"


@pytest.mark.parametrize("name", ["plain.py", "fsdp.py"])
def test_the_example_learns_keeps_a_checkpoint_and_publishes(attempts: Attempts, name: str) -> None:
    (pod,) = attempts.start((EXAMPLES / name).read_text(), nodes=1, objective=Objective(metric="loss", goal="Minimize"))
    end = pod.termination()
    assert end.outcome == "Succeeded", pod.log
    assert end.artifact is not None
    assert end.checkpoint is not None
    assert end.best is not None
    assert float(end.best) < 1.5
    assert end.checkpoint.step >= 40


def test_hugging_faces_own_callback_reports_unchanged(attempts: Attempts) -> None:
    (pod,) = attempts.start((EXAMPLES / "huggingface.py").read_text(), nodes=1, output=None, checkpoint=None)
    end = pod.termination()
    assert (end.outcome, end.message) == ("Succeeded", "ranks 0, 1 ended"), pod.log
    report = pod.progress
    assert report is not None
    # The callback tells its last step at most every five seconds, and 100 % at the end without a step.
    assert (report.total_steps, report.eta_seconds, report.world_size) == (30, 0, 2)
    assert {"train_loss", "train_runtime", "loss"} <= set(report.metrics)
