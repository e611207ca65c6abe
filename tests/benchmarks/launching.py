"""What the launcher costs beside bare torchrun on this machine: start, step time, and the stall of a checkpoint."""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract.artifact import Lineage
from modelyard.contract.runs import CheckpointRun, RunIdentity, TrainRun

SCRIPT = """
import os, sys, time
import torch
from torch.nn.parallel import DistributedDataParallel
import modelyard_trainer

steps, every, width = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
with modelyard_trainer.run() as run:
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, width))
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    x = torch.rand(64, width)
    if run.is_main:
        print("first", time.time(), flush=True)
    stall, began = 0.0, time.time()
    for step in range(1, steps + 1):
        loss = parallel(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(step=step, total_steps=steps, loss=loss)
        if every and step % every == 0:
            before = time.time()
            run.checkpoint(step=step, model=model.state_dict())
            stall += time.time() - before
    if run.is_main:
        print("took", time.time() - began, flush=True)
        print("stall", stall, flush=True)
"""
STEPS, WIDTH, EVERY, PAIRS = 150, 512, 25, 3


@dataclass(frozen=True)
class Trained:
    """What one training of one pod with two ranks measured, in seconds."""

    start: float
    took: float
    stall: float


class Launching:
    """Runs the same script by torchrun and by the launcher, one after the other, a few times."""

    def measure(self) -> dict[str, float]:
        """Medians over pairs: seconds, and percent."""
        bare, ours, saving = [], [], []
        for _ in range(PAIRS):
            bare.append(self._run(torchrun=True))
            ours.append(self._run(torchrun=False))
            saving.append(self._run(torchrun=False, every=EVERY))
        overhead = statistics.median(100 * (own.took / other.took - 1) for own, other in zip(ours, bare, strict=True))
        return {
            "start to the first step, bare torchrun, s": statistics.median(each.start for each in bare),
            "start to the first step, launcher, s": statistics.median(each.start for each in ours),
            "step time beside bare torchrun, percent more": overhead,
            f"{WIDTH * WIDTH * 8 >> 20} MiB saved each {EVERY} steps, percent of the time held": statistics.median(
                100 * each.stall / each.took for each in saving
            ),
        }

    def _run(self, *, torchrun: bool, every: int = 0) -> Trained:
        folder = Path(tempfile.mkdtemp(prefix="launching-"))
        try:
            return self._run_in(folder, torchrun=torchrun, every=every)
        finally:
            shutil.rmtree(folder)

    def _run_in(self, folder: Path, *, torchrun: bool, every: int) -> Trained:
        for name in ("config", "code", "work"):
            (folder / name).mkdir()
        (folder / "code/train.py").write_text(SCRIPT)
        arguments = [str(STEPS), str(every), str(WIDTH)]
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        if torchrun:
            command = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
            command += [str(folder / "code/train.py"), *arguments]
        else:
            command = ["-m", "modelyard_trainer.launch"]
            lineage = Lineage(kind="TrainingJob", name="bench", namespace="default", spec_digest=f"sha256:{'1' * 64}")
            run = TrainRun(
                identity=RunIdentity(namespace="default", name="bench", uid="bench"),
                script="train.py",
                args=arguments,
                checkpoint=CheckpointRun(uri=f"file://{folder}/checkpoints") if every else None,
                lineage=lineage,
            )
            (folder / "config/run.json").write_text(run.to_json())
            environment |= {
                "MODELYARD_ROOT": str(folder), "PET_NNODES": "1", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": "0",
                "PET_RDZV_ENDPOINT": f"127.0.0.1:{port}", "PET_RDZV_ID": "bench-1", "PET_LOCAL_ADDR": "127.0.0.1",
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            }  # fmt: skip
        began = time.time()
        done = subprocess.run(
            [sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = dict(line.split("] ")[-1].split()[:2] for line in done.stdout.splitlines() if _figure(line))
        return Trained(float(told["first"]) - began, float(told["took"]), float(told["stall"]))


def _figure(line: str) -> bool:
    return line.rsplit("] ", maxsplit=1)[-1].split()[:1] in (["first"], ["took"], ["stall"])
