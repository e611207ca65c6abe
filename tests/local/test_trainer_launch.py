"""Whole attempts of two pods with two ranks each, as processes on the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import Termination
from modelyard.contract.runs import CheckpointRun, Place, RunIdentity, TrainRun
from modelyard.storage import artifacts

DEADLINE = 120.0
DIGITS = Path(__file__).parents[2] / "docs" / "examples" / "digits" / "train.py"
LINEAGE = Lineage(kind="TrainingJob", name="toy", namespace="default", spec_digest=f"sha256:{'1' * 64}")

TOY = """
import os, sys, time
import torch
import modelyard_trainer
from pathlib import Path
from torch.nn.parallel import DistributedDataParallel

class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.linear(x).relu()

with modelyard_trainer.run() as run:
    torch.manual_seed(0)
    model = Toy()
    parallel = DistributedDataParallel(model)
    state = run.resume()
    first = state["step"] + 1 if state else 1
    if state:
        model.load_state_dict(state["model"])
    for step in range(first, 13):
        loss = parallel(torch.rand(8, 4)).square().mean()
        loss.backward()
        run.report(step=step, total_steps=12, loss=loss)
        run.checkpoint(step=step, model=model.state_dict())
        print("step", step, "of pid", os.getpid())
        at_step(run, step)
    if SAVES:
        run.save(model, example_inputs=torch.rand(2, 4), metrics={"loss": float(loss)})
"""


@dataclass
class Pod:
    """One launched pod and what it has printed so far."""

    root: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def termination(self) -> Termination:
        self.process.wait(DEADLINE)
        return Termination.model_validate_json((self.root / "termination-log").read_bytes())


@dataclass
class Attempts:
    """Starts the pods of a job, attempt by attempt, and ends what a test leaves running."""

    folder: Path
    pods: list[Pod] = field(default_factory=list)
    number: int = 0

    def start(self, script: str, *, nodes: int = 2, name: str = "train.py", args: Sequence[str] = ()) -> list[Pod]:
        self.number += 1
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        started = [self._pod(node, nodes, port, script, name, args) for node in range(nodes)]
        self.pods += started
        return started

    def _pod(self, node: int, nodes: int, port: int, script: str, name: str, args: Sequence[str]) -> Pod:
        root = self.folder / f"{self.number}-{node}"
        for part in ("config", "code", "work"):
            (root / part).mkdir(parents=True)
        (root / "code" / "train.py").write_text(script)
        run = TrainRun(
            identity=RunIdentity(namespace="default", name="toy", uid="uid-1", attempt=self.number),
            script=name,
            args=list(args),
            checkpoint=CheckpointRun(uri=f"file://{self.folder}/checkpoints"),
            output=Place(uri=f"file://{self.folder}/models"),
            lineage=LINEAGE,
        )
        (root / "config" / "run.json").write_text(run.to_json())
        environment = os.environ | {
            "MODELYARD_ROOT": str(root),
            "PET_NNODES": str(nodes),
            "PET_NPROC_PER_NODE": "2",
            "PET_NODE_RANK": str(node),
            "PET_RDZV_BACKEND": "c10d",
            "PET_RDZV_ENDPOINT": f"127.0.0.1:{port}",
            "PET_RDZV_ID": f"uid-1-{self.number}",
            "PET_RDZV_CONF": "join_timeout=60,last_call_timeout=1,read_timeout=60",
            "PET_LOCAL_ADDR": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelyard_trainer.launch"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Pod(root, process)


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    attempts = Attempts(tmp_path)
    yield attempts
    for pod in attempts.pods:
        for pid in processes_of(pod):
            os.kill(pid, signal.SIGKILL)
        pod.process.wait(DEADLINE)


def toy(at_step: str = "pass", *, saves: bool = True) -> str:
    """A script of twelve steps that does ``at_step``, a statement about ``run`` and ``step``, after each."""
    return f"SAVES = {saves}\ndef at_step(run, step):\n    {at_step}\n{TOY}"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s until {what}"
        time.sleep(0.02)


def processes_of(pod: Pod) -> list[int]:
    """All live processes of the pod: it began a session, which none of them leaves."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == pod.process.pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def of_reason(pods: Sequence[Pod], reason: str) -> tuple[Pod, Termination]:
    """The pod that ended for ``reason``, once all have ended."""
    ends = [(pod, pod.termination()) for pod in pods]
    return next((pod, end) for pod, end in ends if end.reason == reason)


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
    script = toy("if step == 5 and run.rank == 1 and not state: os.kill(os.getpid(), 9)")
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
    pods = attempts.start(toy("time.sleep(600 if step == 3 else 0)"))
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
