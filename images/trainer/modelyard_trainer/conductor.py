"""What a launcher looks after while its ranks run: that all stop at one step when asked, and that none hangs."""

import math
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_trainer import lifetime, stacks
from modelyard_trainer.console import say
from modelyard_trainer.gang import Gang
from modelyard_trainer.pulse import Pulse
from modelyard_trainer.stacks import Whereabouts
from modelyard_trainer.workspace import Workspace

_NOTICE_SECONDS = 0.5
"""The word needs so long at most to reach every rank, so the step to stop at lies at least so far ahead."""
_SPARE_SECONDS = 3.0
"""Kept from the grace period for writing how the pod ended."""
_LEAVE_SECONDS = 2.0
_STACK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Stalled:
    """The attempt hangs because of one rank."""

    rank: int
    message: str


@dataclass
class Conductor:
    """Of one launcher, over all generations of its ranks."""

    gang: Gang
    work: Workspace
    code: Path
    grace_seconds: float
    stall_seconds: float | None
    leaves: bool
    """Whether the gang goes on without this pod: an elastic one does, without any pod but the host."""
    stop_deadline: float | None = None
    """When the ranks must be gone; None until somebody asked them to stop. Monotonic seconds."""
    _pulses: dict[int, Pulse] = field(default_factory=dict)
    _ranks: list[int] = field(default_factory=list)
    _stop_at: int | None = None
    _saved: bool = False
    _asked_since: float | None = None

    def before_start(self, ranks: list[int]) -> None:
        """Make the pages of the ranks that are about to start, by local rank. Raises OSError."""
        self._ranks = ranks
        self._pulses = {local: Pulse(self.work.pulse(local), new=True) for local in range(len(ranks))}
        self._stop_at = None

    def before_restart(self) -> None:
        """Let a checkpoint that is on its way arrive, if it does so soon."""
        deadline = time.monotonic() + _STACK_SECONDS
        while any(pulse.saving for pulse in self._pulses.values()) and time.monotonic() < deadline:
            time.sleep(0.02)

    @property
    def stopping(self) -> bool:
        """Whether this attempt was asked to end, here or in another pod."""
        return self.stop_deadline is not None

    def look(self, pids: Mapping[int, int], *, decides: bool) -> Stalled | None:
        """Once in a while; ``decides`` says that rank 0 runs here.

        Raises TerminatedError when the grace is over, LeftError when the others go on without this pod.
        """
        self._look_for_stop(pids, decides=decides)
        if self.stop_deadline is not None and not self._saved and decides and self.work.stopped.exists():
            # Ranks that report nothing may not know that rank 0 has saved and gone.
            self._saved = True
            self.stop_deadline = min(self.stop_deadline, time.monotonic() + _LEAVE_SECONDS)
        if self.stop_deadline is not None and time.monotonic() > self.stop_deadline:
            raise lifetime.TerminatedError(signal.SIGTERM)
        return self._look_for_stall(pids)

    def _look_for_stop(self, pids: Mapping[int, int], *, decides: bool) -> None:
        if lifetime.asked() and not self.stopping:
            self._asked()
        if not self.stopping and not self.gang.asked_to_stop():
            return
        if self.stop_deadline is None:
            say("modelyard: asked to end; the ranks save a checkpoint first")
            self.stop_deadline = time.monotonic() + max(self.grace_seconds / 2, self.grace_seconds - _SPARE_SECONDS)
        if self._stop_at is None:
            self._stop_at = self._decide() if decides else self.gang.stop_at()
            for pulse in self._pulses.values():
                pulse.stop_at(self._stop_at or 0)
            if self._stop_at == 0:  # the script does not know of us, but may know of signals
                for pid in pids.values():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)

    def _asked(self) -> None:
        """Take note that this pod was told to end, alone or with all the others, whom the host then tells."""
        if not self.leaves:
            self.gang.ask_to_stop()
            return
        self._asked_since = self._asked_since or time.monotonic()
        if time.monotonic() - self._asked_since > _NOTICE_SECONDS and not self.gang.asked_to_stop():
            say("modelyard: asked to end; the others go on")
            raise lifetime.LeftError(signal.SIGTERM)

    def _decide(self) -> int:
        """The number of the report at which all stop, so far ahead that every rank knows in time; 0 without reports."""
        beats = max(pulse.beats for pulse in self._pulses.values())
        if beats == 0:
            self.gang.tell_stop_at(0)
            return 0
        pace = max(pulse.pace for pulse in self._pulses.values())
        stop_at = beats + max(2, math.ceil(pace * _NOTICE_SECONDS))
        self.gang.tell_stop_at(stop_at)
        return stop_at

    def _look_for_stall(self, pids: Mapping[int, int]) -> Stalled | None:
        if self.stall_seconds is None:
            return None
        silent = max((pulse.silent_seconds for pulse in self._pulses.values()), default=0.0)
        if silent > self.stall_seconds:
            self.gang.tell_stalled()
        elif not self.gang.stalled():
            return None
        for found in self._ask_where(pids):
            self.gang.tell_whereabouts(found)
        everyone = self.gang.whereabouts(_ANSWER_SECONDS)
        rank = stacks.culprit(everyone)
        where = f"it is at {rank.frame}" if rank.frame else "it does not answer at all"
        return Stalled(
            rank.rank,
            f"rank {rank.rank} holds up the others: no report for {self.stall_seconds:g} s, {where}; the stacks of all "
            "ranks are in the logs",
        )

    def _ask_where(self, pids: Mapping[int, int]) -> list[Whereabouts]:
        for pid in pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, stacks.SIGNAL)
        files = {local: self.work.stacks(local) for local in pids}
        deadline = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < deadline and not all(
            file.is_file() and file.stat().st_size for file in files.values()
        ):
            time.sleep(0.05)
        time.sleep(0.1)  # the last lines
        found = []
        for local, file in files.items():
            text = file.read_text() if file.is_file() else ""
            say(f"modelyard: stacks of rank {self._ranks[local]}:\n{text or '(no answer)'}")
            found.append(stacks.whereabouts(self._ranks[local], self._pulses[local].beats, text, self.code))
        return found
