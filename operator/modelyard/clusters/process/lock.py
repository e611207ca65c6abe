"""One process at a time runs a state folder's cluster; a background one hands over to whoever comes."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

HANDOVER_SECONDS = 15.0


class Busy(Exception):  # noqa: N818  a state, told to the user
    """Another foreground process runs the cluster; the message names it and the remedy."""


@contextlib.contextmanager
def owned(state: Path, *, background: bool = False) -> Iterator[bool]:
    """Own the state folder's cluster; gives whether a background owner was asked by SIGTERM to leave its pods to us.

    Raises Busy, OSError.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)  # Secrets lie below it
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        asked = _take(descriptor, state)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "background": background}).encode(), 0)
        yield asked
    finally:
        os.close(descriptor)


def _take(descriptor: int, state: Path) -> bool:
    deadline = time.monotonic() + HANDOVER_SECONDS
    asked: set[int] = set()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return bool(asked)
        except BlockingIOError:
            owner = _owner(descriptor)
        if owner is not None:
            pid, background = owner
            if not background:
                raise Busy(f"process {pid} already runs {state}; stop it, or choose another folder with --state")
            if pid not in asked:
                asked.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise Busy(f"another process keeps {state} locked; stop it, or choose another folder with --state")
        time.sleep(0.05)


def _owner(descriptor: int) -> tuple[int, bool] | None:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return int(found["pid"]), bool(found["background"])
    except (ValueError, KeyError):
        return None
