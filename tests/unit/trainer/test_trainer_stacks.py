"""Which rank holds up the others."""

import faulthandler
import tempfile
from pathlib import Path

import torch

from modelyard_trainer import stacks
from modelyard_trainer.stacks import Whereabouts

CODE = Path(__file__).parent
TORCH = Path(torch.__file__).parent
IN_A_COLLECTIVE = f"""Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait

Current thread 0x00007e (most recent call first):
  File "{TORCH}/distributed/distributed_c10d.py", line 4810 in barrier
  File "{CODE}/train.py", line 12 in <module>
"""


def dumped() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


def test_a_rank_in_a_collective_waits() -> None:
    found = stacks.whereabouts(1, 7, IN_A_COLLECTIVE, CODE)
    assert found.waits
    assert (
        found.frame == f"{TORCH}/distributed/distributed_c10d.py:4810 in barrier, called from train.py:12 in <module>"
    )


def test_a_rank_in_the_users_code_does_not_wait() -> None:
    found = stacks.whereabouts(2, 7, dumped(), CODE)
    assert not found.waits
    assert found.frame.startswith("test_trainer_stacks.py:")
    assert found.frame.endswith(" in dumped")


def test_the_one_outside_every_collective_is_the_culprit_whatever_it_reported() -> None:
    waiting = Whereabouts(rank=0, beats=3, waits=True, frame="barrier")
    assert stacks.culprit([waiting, Whereabouts(rank=1, beats=4, waits=False, frame="read")]).rank == 1


def test_among_those_that_wait_the_one_behind_is_the_culprit() -> None:
    ranks = [Whereabouts(rank=rank, beats=beats, waits=True, frame="barrier") for rank, beats in ((0, 4), (1, 3))]
    assert stacks.culprit(ranks).rank == 1


def test_a_rank_that_does_not_answer_is_the_culprit() -> None:
    silent = stacks.whereabouts(3, 4, "", CODE)
    assert stacks.culprit([Whereabouts(rank=0, beats=4, waits=True, frame="barrier"), silent]) is silent
