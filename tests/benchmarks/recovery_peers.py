"""The same faults without an operator: bare torchrun on this machine, and Indexed Jobs with static and c10d rendezvous.

The script keeps its own checkpoints and writes the same record as the one that Modelyard trains.
"""
# ruff: noqa: T201

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from installed import Place
from node_stage import folder_of_claim
from stages import process_of_rank
from waiting import until

Figures = dict[str, list[float | None]]
NAME = "peer"
MARK = "BENCH_PEER"
RESOURCES = {"requests": {"cpu": "500m", "memory": "512Mi"}}
"""Of each pod, ours and the peers'. A pod that asks for nothing gets next to no CPU beside one that does."""
NEVER_SECONDS = 120.0
"""What has not come back by then counts as never."""
GAP_SECONDS = 1.0
"""Between two steps: somebody was struck."""
SCRIPT = """
import os, sys, time
from pathlib import Path
import torch
from torch.nn.parallel import DistributedDataParallel

folder = Path(sys.argv[1])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
Path("/proc/self/comm").write_text(f"rank {rank}")
model = torch.nn.Linear(4, 1)
parallel = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
kept, first = folder / "state.pt", 1
if kept.exists():
    state = torch.load(kept)
    model.load_state_dict(state["model"])
    first = state["step"] + 1
for step in range(first, 100000):
    loss = parallel(torch.rand(3, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.02)
    if rank == 0:
        with (folder / "record").open("a") as lines:
            lines.write(f"{step} {time.time():.3f}\\n")
        if step % 5 == 0:
            torch.save({"step": step, "model": model.state_dict()}, folder / "state.part")
            os.replace(folder / "state.part", kept)
"""
POD_COMMAND = {
    "static": "torchrun --nnodes=2 --nproc-per-node=2 --node-rank=$JOB_COMPLETION_INDEX --master-port=29400 "
    f"--master-addr={NAME}-0.{NAME} --max-restarts=0 /code/train.py /data",
    "c10d": "torchrun --nnodes=2 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-id=peer --local-addr=$(hostname -i) "
    f"--rdzv-endpoint={NAME}-0.{NAME}:29400 --max-restarts=20 --monitor-interval=0.1 /code/train.py /data",
}


@dataclass(frozen=True)
class Training:
    """One training that runs, and how to strike it."""

    folder: Path
    mark: str

    def steps(self) -> list[tuple[int, float]]:
        """Number and time of each step so far."""
        record = self.folder / "record"
        lines = [line.split() for line in record.read_text().splitlines()] if record.is_file() else []
        return [(int(line[0]), float(line[1])) for line in lines if len(line) == 2]

    def recovery_seconds(self, strike: Callable[[], None]) -> float | None:
        """From the fault until the steps are past where they were; None: not within two minutes."""
        until(lambda: len(self.steps()) > 20, "it trains", NEVER_SECONDS)
        struck = time.time()
        strike()
        end = time.monotonic() + NEVER_SECONDS
        while time.monotonic() < end:
            if (again := first_beyond(self.steps(), struck)) is not None:
                return again - struck
            time.sleep(0.05)
        return None

    def kill_rank(self, number: int) -> None:
        """SIGKILL the process of that rank."""
        os.kill(process_of_rank(number, f"{MARK}={self.mark}", NEVER_SECONDS), signal.SIGKILL)


def first_beyond(steps: Sequence[tuple[int, float]], struck: float) -> float | None:
    """When the first step was made beyond all those before the gap that the fault made."""
    for place, ((_, before), (_, after)) in enumerate(pairwise(steps), 1):
        if after > struck and after - before > GAP_SECONDS:
            peak = max(number for number, _ in steps[:place])
            return next((at for number, at in steps[place:] if number > peak), None)
    return None


@contextmanager
def on_this_machine(*, own_store: bool) -> Iterator[Training]:
    """Bare torchrun with four ranks that it starts again itself; by default they share the agent's store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text(SCRIPT)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", MARK: name}
        environment |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if own_store else {}
        command = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=4",
            "--max-restarts=3",
            "--monitor-interval=0.1",
        ]
        process = subprocess.Popen(
            [sys.executable, *command, str(folder / "train.py"), name],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield Training(folder, name)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@contextmanager
def on_the_node(here: Place, rendezvous: str, image: str) -> Iterator[Training]:
    """An Indexed Job of two pods of two ranks, whose pods the Job controller replaces one by one."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    selector = {"batch.kubernetes.io/job-name": NAME}
    here.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": NAME}, "spec": claim},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"train.py": SCRIPT}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
            "spec": {"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": True},
        },
        {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": NAME},
            "spec": {
                "completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimit": 100,
                "template": {"spec": _pod(here.namespace, rendezvous, image)},
            },
        },
    )  # fmt: skip

    def trains() -> bool:
        folder = folder_of_claim(here, NAME)
        return folder is not None and (folder / "record").is_file()

    until(trains, "the peer trains", NEVER_SECONDS)
    folder = folder_of_claim(here, NAME)
    assert folder is not None, "waited for"
    try:
        yield Training(folder, here.namespace)
    finally:
        here.kubectl("delete", "job", NAME, "--cascade=foreground")


def _pod(mark: str, rendezvous: str, image: str) -> dict[str, Any]:
    return {
        "subdomain": NAME,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "main", "image": image, "command": ["sh", "-c", f"exec {POD_COMMAND[rendezvous]}"],
                "resources": RESOURCES,
                "env": [
                    {"name": MARK, "value": mark}, {"name": "OMP_NUM_THREADS", "value": "1"},
                    {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"}, {"name": "TMPDIR", "value": "/tmp"},
                ],
                "volumeMounts": [
                    {"name": "code", "mountPath": "/code"}, {"name": "data", "mountPath": "/data"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "volumes": [
            {"name": "code", "configMap": {"name": NAME}}, {"name": "tmp", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
        ],
    }  # fmt: skip


STRIKES: Mapping[str, Callable[[Place, Training], None]] = {
    "rank killed": lambda _, training: training.kill_rank(2),
    "worker pod deleted": lambda here, _: delete_pod(here, 1),
    "pod 0 deleted": lambda here, _: delete_pod(here, 0),
}


def measure(
    fresh: Callable[[], AbstractContextManager[Place]], image: str, repeat: int
) -> dict[str, list[float | None]]:
    """Seconds from each fault to training again, by setting and fault."""
    found: dict[str, list[float | None]] = {}

    def note(name: str, seconds: float | None) -> None:
        found.setdefault(name, []).append(seconds)
        print(f"{name}: {shown(seconds)}", flush=True)

    for _ in range(repeat):
        for own_store in (False, True):
            with on_this_machine(own_store=own_store) as training:
                seconds = training.recovery_seconds(partial(training.kill_rank, 2))
                how = "with a store of the ranks' own" if own_store else "as it comes"
                note(f"bare torchrun, {how}: rank killed", seconds)
        for rendezvous in POD_COMMAND:
            for name, strike in STRIKES.items():
                with fresh() as here, on_the_node(here, rendezvous, image) as training:
                    seconds = training.recovery_seconds(partial(strike, here, training))
                    note(f"Indexed Job, {rendezvous} rendezvous: {name}", seconds)
    return found


def shown(seconds: float | None) -> str:
    """As the table has it."""
    return f"not within {NEVER_SECONDS:.0f} s" if seconds is None else f"{seconds:.1f} s"


def delete_pod(here: Place, index: int) -> None:
    """``kubectl delete pod`` of that index."""
    selector = f"batch.kubernetes.io/job-completion-index={index}"
    here.kubectl("delete", "pod", "-l", selector, "--wait=false")
