"""A page of memory that a rank and its launcher share: how far the rank is, and where it is to stop.

Reading and writing it costs less than a microsecond, so that a rank does so at every step; no message is sent.
"""

import mmap
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

_BYTES = mmap.PAGESIZE
_NANO = 1e9


class _Slot(IntEnum):
    """Places of 64-bit integers, each with one writer."""

    BEATS = 0
    TIME = 1
    PAUSED = 2
    SAVING = 3
    STOP_AT = 4
    FIRST = 5


class Pulse:
    """The page of one rank. The launcher makes it before the rank starts."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """Open the page at ``path``, or make an empty one. Raises OSError."""
        if new:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                path.unlink()
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as stream:
            self._page = memoryview(mmap.mmap(stream.fileno(), _BYTES)).cast("q")

    def beat(self) -> None:
        """The rank has reported once more."""
        self._page[_Slot.TIME] = now = time.monotonic_ns()
        self._page[_Slot.FIRST] = self._page[_Slot.FIRST] or now
        self._page[_Slot.BEATS] += 1

    @property
    def beats(self) -> int:
        """How often the rank has reported. All ranks of a script that reports on all of them count alike."""
        return self._page[_Slot.BEATS]

    @property
    def pace(self) -> float:
        """Reports a second, from the first to the newest; 0 before the second."""
        seconds = (self._page[_Slot.TIME] - self._page[_Slot.FIRST]) / _NANO
        return (self.beats - 1) / seconds if seconds > 0 else 0.0

    @property
    def silent_seconds(self) -> float:
        """The time since the last report; 0 before the first, and while the rank does something that takes long."""
        if self.beats == 0 or self._page[_Slot.PAUSED]:
            return 0.0
        return (time.monotonic_ns() - self._page[_Slot.TIME]) / _NANO

    def pause(self) -> None:
        """From now until the next report nobody waits for one: the model is exported, or the script has ended."""
        self._page[_Slot.PAUSED] = 1

    def go_on(self) -> None:
        """Reports are waited for again."""
        self._page[_Slot.TIME] = time.monotonic_ns()
        self._page[_Slot.PAUSED] = 0

    @property
    def saving(self) -> bool:
        """Whether a checkpoint is on its way to the storage."""
        return bool(self._page[_Slot.SAVING])

    @saving.setter
    def saving(self, value: bool) -> None:
        self._page[_Slot.SAVING] = int(value)

    def stop_at(self, beats: int) -> None:
        """Ask the rank to stop at its report of that number."""
        self._page[_Slot.STOP_AT] = beats

    @property
    def stopping(self) -> bool:
        """Whether the report at which all ranks stop has been reached."""
        return 0 < self._page[_Slot.STOP_AT] <= self.beats
