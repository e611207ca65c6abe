"""A training that keeps a record of every step it made, to be checked after faults against one without any."""

import torch

STEPS = 60
INTERVAL = 5
"""Steps between checkpoints."""
BATCH = 12
"""Samples of a step, over all ranks: a number that 1, 2, 3, 4 and 6 ranks can share."""

SCRIPT = (
    """
import argparse, os, sys, time
from pathlib import Path
import torch
from torch.nn.parallel import DistributedDataParallel
import modelyard_trainer

arguments = argparse.ArgumentParser()
arguments.add_argument("--pace", type=float, default=0.05)
arguments.add_argument("--steps", type=int, default=STEPS)
arguments.add_argument("--at", type=int)
arguments.add_argument("--rank", type=int, default=1)
arguments.add_argument("--once", choices=["raise", "hang", "oom"])
arguments.add_argument("--always", choices=["raise"])
arguments.add_argument("--until-told", action="store_true")
given = arguments.parse_args()
volume = Path(os.environ.get("MODELYARD_ROOT", "/modelyard")) / "volumes" / "models"
record, done, finish = volume / "record", volume / "done", volume / "finish"
attempt = os.environ["PET_RDZV_ID"].rpartition("-")[2]

def batch(step):
    draw = torch.Generator().manual_seed(step)
    x = torch.rand(BATCH, 4, generator=draw)
    return x, x.sum(dim=1, keepdim=True)

def misbehave(what):
    if what == "raise":
        raise ValueError("the data is broken")
    if what == "hang":
        time.sleep(3600)
    if what == "oom":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1024)) * 65536)

with modelyard_trainer.run() as run:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = 1
    if state := run.resume():
        first = state["step"] + 1
        model.load_state_dict(state["model"])
    step = first - 1
    while step < given.steps:
        step += 1
        if run.rank == given.rank and step == given.at and (given.always or not done.exists()):
            done.touch()
            misbehave(given.once or given.always)
        x, y = batch(step)
        loss = torch.nn.functional.mse_loss(parallel(x[run.rank :: run.world_size]), y[run.rank :: run.world_size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(given.pace)
        if run.is_main:
            with record.open("a") as lines:
                lines.write(f"{attempt} {step} {run.world_size} {time.time():.3f}\\n")
        run.report(step=step, total_steps=given.steps, loss=loss)
        if step % INTERVAL == 0 or run.stopping:
            run.checkpoint(step=step, model=model.state_dict())
        if given.until_told:
            told = torch.tensor([float(finish.exists())])
            torch.distributed.broadcast(told, 0)
            if told.item():
                break
    with torch.no_grad():
        x, y = batch(0)
        final = torch.nn.functional.mse_loss(model(x), y).item()
    made = [int(line.split()[1]) for line in record.read_text().splitlines()] if run.is_main else []
    counts = {
        "loss": final,
        "steps": float(step),
        "missing": float(len(set(range(1, step + 1)) - set(made))),
        "again": float(len(made) - step),
    }
    run.save(model, example_inputs=torch.zeros(2, 4), metrics=counts)
""".replace("STEPS", str(STEPS))
    .replace("INTERVAL", str(INTERVAL))
    .replace("BATCH", str(BATCH))
)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples of one step and their targets, as the script draws them."""
    x = torch.rand(BATCH, 4, generator=torch.Generator().manual_seed(step))
    return x, x.sum(dim=1, keepdim=True)


def loss_without_faults(steps: int = STEPS) -> float:
    """The final loss of the same training in one process that nothing disturbs."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(1, steps + 1):
        x, y = batch(step)
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        x, y = batch(0)
        return torch.nn.functional.mse_loss(model(x), y).item()
