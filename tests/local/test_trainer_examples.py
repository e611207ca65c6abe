"""The examples of docs/training.md, as pods run them."""

from pathlib import Path

from pods import Attempts

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "training"


def test_hugging_faces_own_callback_reports_unchanged(attempts: Attempts) -> None:
    pods = attempts.start((EXAMPLES / "huggingface.py").read_text(), nodes=1, output=None, checkpoint=None)
    (end,) = [pod.termination() for pod in pods]
    assert (end.outcome, end.message) == ("Succeeded", "ranks 0, 1 ended"), pods[0].log
    report = pods[0].progress
    assert report is not None
    # The callback tells its last step at most every five seconds, and 100 % at the end without a step.
    assert (report.total_steps, report.eta_seconds, report.world_size) == (30, 0, 2)
    assert {"train_loss", "train_runtime", "loss"} <= set(report.metrics)
