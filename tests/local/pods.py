"""Attempts of a TrainingJob: pods of two ranks each, as processes on the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.contract.artifact import Lineage
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.contract.runs import CheckpointRun, Place, RunIdentity, TrainRun

DEADLINE = 240.0
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
    for step in range(first, STEPS + 1):
        loss = parallel(torch.rand(8, 4)).square().mean()
        loss.backward()
        run.report(step=step, total_steps=STEPS, loss=loss)
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

    @property
    def progress(self) -> ProgressReport | None:
        path = self.root / "work" / "progress.json"
        return ProgressReport.model_validate_json(path.read_bytes()) if path.is_file() else None

    def termination(self) -> Termination:
        self.process.wait(DEADLINE)
        return Termination.model_validate_json((self.root / "termination-log").read_bytes())


@dataclass
class Attempts:
    """Starts the pods of a job, attempt by attempt, and ends what a test leaves running."""

    folder: Path
    pods: list[Pod] = field(default_factory=list)
    number: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    script: str = ""
    run: TrainRun = field(init=False)

    def start(
        self,
        script: str,
        *,
        nodes: int = 2,
        nnodes: str | None = None,
        name: str | None = "train.py",
        args: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **asked: object,
    ) -> list[Pod]:
        """Start the next attempt; ``asked`` are fields of the run file, ``name`` that of the file that is run."""
        self.number += 1
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.environment = (
            {**self.environment}
            | {
                "PET_NNODES": nnodes or str(nodes),
                "PET_NPROC_PER_NODE": "2",
                "PET_RDZV_BACKEND": "c10d",
                "PET_RDZV_ENDPOINT": f"127.0.0.1:{port}",
                "PET_RDZV_ID": f"uid-1-{self.number}",
                "PET_RDZV_CONF": "join_timeout=60,last_call_timeout=1,read_timeout=60",
                "PET_LOCAL_ADDR": "127.0.0.1",
                "OMP_NUM_THREADS": "1",
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            }
            | dict(variables or {})
        )
        self.script = script
        self.run = TrainRun(
            identity=RunIdentity(namespace="default", name="toy", uid="uid-1", attempt=self.number),
            script=name,
            args=list(args),
            checkpoint=CheckpointRun(uri=f"file://{self.folder}/checkpoints"),
            output=Place(uri=f"file://{self.folder}/models"),
            lineage=LINEAGE,
        ).model_copy(update=asked)
        return [self.add(node) for node in range(nodes)]

    def add(self, node: int) -> Pod:
        """One more pod of the present attempt."""
        root = self.folder / f"pod-{len(self.pods)}"
        for part in ("config", "code", "work"):
            (root / part).mkdir(parents=True)
        (root / "code" / "train.py").write_text(self.script)
        (root / "config" / "run.json").write_text(self.run.to_json())
        environment = os.environ | self.environment | {"MODELYARD_ROOT": str(root), "PET_NODE_RANK": str(node)}
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelyard_trainer.launch"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pods.append(Pod(root, process))
        return self.pods[-1]

    def end(self) -> None:
        """Kill what is left."""
        for pod in self.pods:
            kill(pod)
            pod.process.wait(DEADLINE)


def toy(at_step: str = "pass", *, saves: bool = True, steps: int = 12) -> str:
    """A script of twelve steps that does ``at_step``, a statement about ``run`` and ``step``, after each."""
    return f"SAVES, STEPS = {saves}, {steps}\ndef at_step(run, step):\n    {at_step}\n{TOY}"


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


def kill(pod: Pod) -> None:
    """Kill all that is in the pod at once, as a lost node does."""
    for pid in processes_of(pod):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def of_reason(pods: Sequence[Pod], reason: str) -> tuple[Pod, Termination]:
    """The pod that ended for ``reason``, once all have ended."""
    ends = [(pod, pod.termination()) for pod in pods]
    return next((pod, end) for pod, end in ends if end.reason == reason)
