"""Who ends whom: death signals raise in the launcher, and no process outlives the one that started it."""

import ctypes
import signal
import sys
from pathlib import Path
from types import FrameType

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class TerminatedError(BaseException):
    """The launcher was asked to end. Not an Exception: nobody on the way may swallow it."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"the pod was asked to end ({self.signal.name})")

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell reports it."""
        return 128 + self.signal


class LeftError(TerminatedError):
    """The pod leaves an elastic gang, which goes on without it."""


def raise_on_death_signals() -> None:
    """From now on SIGTERM and SIGINT raise TerminatedError in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise)


def note_death_signals() -> None:
    """From now on the first SIGTERM or SIGINT is only noted (see ``asked``), and a second one raises as above."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note)


def asked() -> bool:
    """Whether a signal was noted."""
    return _noted


def forget_death_signals() -> None:
    """From now on they end this process at once, as by default."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def ignore_death_signals() -> None:
    """From now on nothing keeps the launcher from writing how it ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that dies. Does nothing outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def name_process(name: str) -> None:
    """Show ``name``, at most 15 bytes of it, where ps and top show the command. Does nothing outside Linux."""
    if sys.platform == "linux":
        Path("/proc/self/comm").write_text(name)


_noted = False


def _note(number: int, frame: FrameType | None) -> None:
    global _noted  # noqa: PLW0603 - a signal comes to the process
    if _noted:
        _raise(number, frame)
    _noted = True


def _raise(number: int, _: FrameType | None) -> None:
    raise TerminatedError(number)
