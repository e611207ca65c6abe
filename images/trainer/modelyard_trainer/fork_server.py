"""The process that ranks are forked from: a copy of the launcher, made once torch is imported, before it has threads.

Python would start a fresh interpreter that imports torch once more, which takes seconds of a core in every pod.
"""

import gc
import os
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from typing import Any

from modelyard_trainer import lifetime


def start() -> None:
    """Import what ranks need, and have multiprocessing fork its processes from a copy of this one as it is now.

    No thread may have been started here: a lock that it holds would stay locked in the copy.
    """
    gc.disable()  # a tenth of the time is spent on looking for garbage that is not there
    from modelyard_trainer import preload  # noqa: F401, PLC0415 - takes seconds

    gc.freeze()
    gc.enable()
    resource_tracker.ensure_running()  # by the same function, and no copy of this process
    original = util.spawnv_passfds
    vars(util)["spawnv_passfds"] = _fork
    try:
        forkserver.ensure_running()
    finally:
        vars(util)["spawnv_passfds"] = original


def _fork(path: object, arguments: object, descriptors: Sequence[int]) -> int:
    """In place of ``spawnv_passfds`` of multiprocessing: the process that is asked for is a copy of this one."""
    del path, arguments
    pid = os.fork()
    if pid:
        return pid
    try:
        # The server lives as long as a rank does, so a killed launcher would leave both behind.
        lifetime.die_with_parent()
        lifetime.forget_death_signals()
        listener, alive, *more = descriptors
        options: dict[str, Any] = {"authkey_r": more[0]} if more else {}  # from Python 3.14 on
        forkserver.main(listener, alive, [], **options)
    finally:
        os._exit(1)
