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


def test_a_sharded_checkpoint_of_four_ranks_is_gone_on_from_by_two(attempts: Attempts, tmp_path: Path) -> None:
    script = (EXAMPLES / "fsdp.py").read_text()
    line = "            run.report(step=step, total_steps=STEPS, loss=loss)\n"
    assert line in script
    broken = script.replace(
        line, f"{line}            assert step < 23 or run.world_size == 2, 'the first attempt ends'\n"
    )
    first = attempts.start(broken, nodes=2, process_restarts=0)
    assert {pod.termination().outcome for pod in first} == {"Failed"}
    [step] = [path.parent.name for path in tmp_path.rglob("step-00000020/commit.json")]
    files = sorted(path.name for path in next(tmp_path.rglob(step)).iterdir())
    shards = [f"shard-1-0000{rank}.safetensors" for rank in range(4)]
    assert files == ["commit.json", *shards, "state.pt"]
    (pod,) = attempts.start(broken, nodes=1)
    end = pod.termination()
    assert end.outcome == "Succeeded", pod.log
    assert "resuming after step 20" in pod.log
    assert end.checkpoint is not None
    assert end.checkpoint.step == 40


def test_hugging_faces_own_callback_reports_unchanged(attempts: Attempts) -> None:
    (pod,) = attempts.start((EXAMPLES / "huggingface.py").read_text(), nodes=1, output=None, checkpoint=None)
    end = pod.termination()
    assert (end.outcome, end.message) == ("Succeeded", "ranks 0, 1 ended"), pod.log
    report = pod.progress
    assert report is not None
    # The callback tells its last step at most every five seconds, and 100 % at the end without a step.
    assert (report.total_steps, report.eta_seconds, report.world_size) == (30, 0, 2)
    assert {"train_loss", "train_runtime", "loss"} <= set(report.metrics)
