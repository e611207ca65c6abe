"""Which failure of an attempt is the cause, and how it reads in a termination message. Pure."""

import re
import signal
import traceback
from collections.abc import Iterable
from pathlib import Path

from modelyard.contract.base import Document
from modelyard.storage.errors import StorageError
from modelyard_trainer.errors import PEER_LOST, PROCESS_ERROR, TrainingError

_FRAMES = 3
_LONGEST_ERROR = 1500
_LOST_PEER_TYPES = frozenset({"DistNetworkError"})
"""torch's name for a broken connection to another rank's store."""
_COMMUNICATION = re.compile(r"gloo|nccl|tcpstore|distributed", re.IGNORECASE)
_BROKEN = re.compile(
    r"connection (closed|reset) by peer|broken pipe|connection refused|failed to recv|connection was likely closed"
    r"|remote process exited|ncclRemoteError|read error|write error",
    re.IGNORECASE,
)


class RankFailure(Document):
    """How one rank ended when it should not have."""

    rank: int
    """Global."""
    time: float
    """Seconds since the epoch."""
    reason: str
    message: str
    """Begins with the rank."""
    exit_code: int = 1
    """As a shell reports it: 128 and the signal's number for a rank that was killed."""
    raised: bool = False
    """Whether the script raised an error, which it may raise again."""


def of_exception(rank: int, error: BaseException, code: Path, time: float) -> RankFailure:
    """A rank whose script raised. The message ends with the innermost frames in ``code``, the folder of user's code.

    An error with a reason of its own carries its remedy, so it comes without frames.
    """
    reason = reason_of(error)
    text = "".join(traceback.format_exception_only(error)).strip()
    if reason not in (PROCESS_ERROR, PEER_LOST):
        return RankFailure(rank=rank, time=time, reason=reason, message=f"rank {rank}: {error}", raised=True)
    lines = [f"rank {rank}: {text[:_LONGEST_ERROR]}", *_frames(error, code)]
    return RankFailure(rank=rank, time=time, reason=reason, message="\n".join(lines), raised=True)


def of_exit(rank: int, code: int, time: float) -> RankFailure:
    """A rank that ended with ``code``; a negative one is a signal, as in ``subprocess``."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "; the kernel does so when memory runs out" if -code == signal.SIGKILL else ""
        message = f"rank {rank} was killed by {name}{hint}"
    else:
        message = f"rank {rank} exited with code {code}; its last lines in the log say why"
    exit_code = 128 - code if code < 0 else code
    return RankFailure(rank=rank, time=time, reason=PROCESS_ERROR, message=message, exit_code=exit_code)


def root_cause(failures: Iterable[RankFailure]) -> RankFailure:
    """The first failure that is not the consequence of another. Raises ValueError if there is none at all."""
    return min(failures, key=lambda failure: (failure.reason == PEER_LOST, failure.time, failure.rank))


def reason_of(error: BaseException) -> str:
    """The error's own reason; PeerLost for a broken connection between ranks; else ProcessError."""
    if isinstance(error, TrainingError | StorageError):
        return error.reason
    text = str(error)
    if type(error).__name__ in _LOST_PEER_TYPES or (_COMMUNICATION.search(text) and _BROKEN.search(text)):
        return PEER_LOST
    return PROCESS_ERROR


def _frames(error: BaseException, code: Path) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(code)]
    return [
        f"  {Path(frame.filename).relative_to(code)}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in own[-_FRAMES:]
    ]
