"""Whole attempts of two pods with two ranks each, as processes on the loopback address."""

import os
import signal
from pathlib import Path

import pytest

from modelyard.storage import artifacts
from pods import LINEAGE, Attempts, of_reason, processes_of, toy, wait_until

DIGITS = Path(__file__).parents[2] / "docs" / "examples" / "digits" / "train.py"


def test_success_publishes_an_artefact_whose_digest_verifies(attempts: Attempts) -> None:
    pods = attempts.start(toy("print('to stderr', file=sys.stderr)"))
    ends = [pod.termination() for pod in pods]
    assert [(end.outcome, end.reason) for end in ends] == [("Succeeded", "Completed")] * 2
    assert [pod.process.returncode for pod in pods] == [0, 0]
    (published,) = [end.artifact for end in ends if end.artifact]
    _, manifest = artifacts.open_artifact(published)
    assert [file.path for file in manifest.files] == ["model.onnx", "weights.safetensors"]
    assert manifest.lineage == LINEAGE
    lines = "".join(pod.log for pod in pods).splitlines()
    assert sorted(line for line in lines if line.endswith("to stderr")) == [
        f"[rank {rank}] to stderr" for rank in range(4) for _ in range(12)
    ]


def test_the_digits_example_reaches_its_accuracy_on_four_ranks(attempts: Attempts) -> None:
    pods = attempts.start(DIGITS.read_text(), args=["--seed", "1"])
    (published,) = [end.artifact for end in (pod.termination() for pod in pods) if end.artifact]
    _, manifest = artifacts.open_artifact(published)
    assert manifest.metrics["accuracy"] >= 0.97
    assert [(spec.name, spec.shape) for spec in (*manifest.inputs, *manifest.outputs)] == [
        ("image", [-1, 1, 8, 8]),
        ("logits", [-1, 10]),
    ]
    assert [file.path for file in manifest.files] == [
        "calibration.npz",
        "eval.npz",
        "model.onnx",
        "weights.safetensors",
    ]


def test_the_first_rank_that_raises_is_named_and_the_others_only_lost_it(attempts: Attempts) -> None:
    pods = attempts.start(toy("if step == 4 and run.rank == 2: raise ValueError('labels must be 0..9')"))
    pod, end = of_reason(pods, "ProcessError")
    assert (end.outcome, end.rank, pod.process.returncode) == ("Failed", 2, 1)
    assert end.message.splitlines() == [
        "rank 2: ValueError: labels must be 0..9",
        "  train.py:32 in <module>: at_step(run, step)",
        "  train.py:3 in at_step: if step == 4 and run.rank == 2: raise ValueError('labels must be 0..9')",
    ]
    peer, lost = of_reason(pods, "PeerLost")
    assert (lost.outcome, peer.process.returncode) == ("Failed", 1)


def test_a_script_that_saves_nothing_fails(attempts: Attempts) -> None:
    _, end = of_reason(attempts.start(toy(saves=False)), "NothingSaved")
    assert end.message == "train.py ended without run.save(...); call it, or remove spec.output"


def test_a_killed_rank_fails_its_attempt_and_the_next_one_resumes(attempts: Attempts) -> None:
    script = toy("step == 5 and run.rank == 1 and not state and (time.sleep(0.5), os.kill(os.getpid(), 9))")
    pod, end = of_reason(attempts.start(script), "ProcessError")
    assert (end.rank, end.message.partition(";")[0]) == (1, "rank 1 was killed by SIGKILL")
    assert end.checkpoint is not None
    wait_until(lambda: processes_of(pod) == [], "the killed rank's pod is gone")
    again = attempts.start(script)
    ends = [pod.termination() for pod in again]
    assert [end.outcome for end in ends] == ["Succeeded", "Succeeded"]
    assert any(f"resuming after step {end.checkpoint.step}\n" in pod.log for pod in again)


def test_a_refused_export_fails_the_attempt_with_its_reason(attempts: Attempts) -> None:
    pods = attempts.start(toy("Toy.forward = lambda self, x: self.linear(x) if x.sum() > 0 else x"))
    _, end = of_reason(pods, "ExportFailed")
    assert (end.outcome, end.rank) == ("Failed", 0)
    assert end.message.startswith("rank 0: the model cannot be exported: Could not guard on data-dependent expression")
    of_reason(pods, "PeerLost")


@pytest.mark.parametrize("node", [0, 1])
def test_a_lost_pod_is_a_lost_peer_for_the_other(attempts: Attempts, node: int) -> None:
    pods = attempts.start(toy("time.sleep(0.2)"))
    lost, left = pods[node], pods[1 - node]
    wait_until(lambda: lost.log.count("step 2 of pid") == 2, "both ranks are in the second step")
    for pid in processes_of(lost):
        os.kill(pid, signal.SIGKILL)
    end = left.termination()
    assert (end.outcome, end.reason, left.process.returncode) == ("Failed", "PeerLost", 1)


def test_sigterm_ends_every_process_of_the_pod(attempts: Attempts) -> None:
    pods = attempts.start(toy("time.sleep(600 if step == 3 else 0)"), grace_seconds=2)
    for pod in pods:
        wait_until(lambda pod=pod: pod.log.count("step 3 of pid") == 2, "both ranks are in the third step")  # type: ignore[misc]
    for pod in pods:
        pod.process.send_signal(signal.SIGTERM)
    ends = [pod.termination() for pod in pods]
    assert [(end.outcome, end.reason) for end in ends] == [("Failed", "Terminated")] * 2
    assert [pod.process.returncode for pod in pods] == [143, 143]
    for pod in pods:
        wait_until(lambda pod=pod: processes_of(pod) == [], "no process is left")  # type: ignore[misc]


def test_a_killed_launcher_leaves_no_rank_behind(attempts: Attempts) -> None:
    (pod,) = attempts.start(toy("time.sleep(600 if step == 3 else 0)"), nodes=1)
    wait_until(lambda: pod.log.count("step 3 of pid") == 2, "both ranks are in the third step")
    pod.process.kill()
    wait_until(lambda: processes_of(pod) == [], "no process is left")
