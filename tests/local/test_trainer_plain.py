"""A script that uses ``run`` also runs by plain ``python``."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import torch
import modelyard_trainer

with modelyard_trainer.run() as run:
    model = torch.nn.Linear(2, 1)
    print(f"resumed at {run.resume()}, rank {run.rank} of {run.world_size}")
    run.report(step=1, total_steps=1, loss=model(torch.ones(2)))
    run.checkpoint(step=1, model=model.state_dict())
"""


def test_a_plain_script_keeps_its_checkpoints_beside_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment["MODELYARD_ROOT"] = str(tmp_path / "nowhere")
    ended = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    folder = tmp_path / "modelyard-output"
    assert ended.stdout.splitlines()[:2] == [
        f"modelyard: not started by Modelyard; checkpoints and model go to {folder}",
        "resumed at None, rank 0 of 1",
    ]
    assert (folder / "checkpoints" / "local" / "step-00000001" / "commit.json").is_file()
