"""What one rank does: run the user's script as ``__main__``, and leave word if it fails."""

import os
import runpy
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from modelyard.contract.reports import replace_file
from modelyard_trainer import lifetime, outcome, output, stacks, workspace
from modelyard_trainer.errors import PEER_LOST, StoppedError
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.pulse import Pulse
from modelyard_trainer.workspace import Workspace

_CONSEQUENCE_SECONDS = 0.2
"""A rank that only lost its peer stays so long, so that the agents, which look every 0.05 s, see the cause first."""


@dataclass(frozen=True)
class Script:
    """A file of the user's code, or a module, and its arguments."""

    code: Path
    """The folder that the script runs in."""
    script: str | None
    module: str | None
    args: Sequence[str]
    variables: Mapping[str, str | None] = field(default_factory=dict)
    """What has changed in the environment since the fork server was started; None: it is gone."""

    def execute(self) -> None:
        """Run it as ``python script.py`` or ``python -m module`` would, started in ``code``. Raises what it raises."""
        for name, value in self.variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        os.chdir(self.code)
        if self.script is not None:
            path = self.code / self.script
            sys.path.insert(0, str(path.parent))
            sys.argv = [str(path), *self.args]
            runpy.run_path(str(path), run_name="__main__")
        elif self.module is not None:
            sys.path.insert(0, str(self.code))
            sys.argv = [self.module, *self.args]
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)


def work(script: Script, streams: Sequence[output.Streams], space: Workspace) -> None:
    """The entry point of a rank, whose number the agent has put into the environment. Exits with code 1 on failure."""
    rank = int(os.environ["RANK"])
    lifetime.die_with_parent()
    lifetime.name_process(f"rank {rank}")
    np.random.seed()  # noqa: NPY002 - forked with the server's generator; a process of its own would have its own
    output.redirect(streams[int(os.environ["LOCAL_RANK"])], rank)
    local_rank = int(os.environ["LOCAL_RANK"])
    stacks.answer_with_stacks(space.stacks(local_rank))
    failure = _failure(script, rank)
    if failure is None:
        Pulse(space.pulse(local_rank)).pause()
    if failure is not None:
        replace_file(space.failures / f"{rank}.json", failure.to_json())
        if failure.reason == PEER_LOST:
            time.sleep(_CONSEQUENCE_SECONDS)
        sys.exit(1)


def _below_runpy(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        frames = frames.tb_next
    return frames


def _failure(script: Script, rank: int) -> RankFailure | None:
    try:
        script.execute()
    except SystemExit as end:
        match end.code:
            case None | 0:
                # Returning is what tells the agent of success: it waits for ever for a rank that only exits.
                return None
            case int(code):
                return outcome.of_exit(rank, code, time.time())
            case text:
                sys.stderr.write(f"{text}\n")
                return outcome.of_exception(rank, end, script.code, time.time())
    except StoppedError:
        workspace.of_pod().stopped.touch()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        traceback.print_exception(type(error), error, _below_runpy(error.__traceback__))
        return outcome.of_exception(rank, error, script.code, time.time())
    return None
