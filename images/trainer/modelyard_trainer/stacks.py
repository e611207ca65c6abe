"""Where the ranks of a hanging attempt are, from the stacks that they leave, and which of them holds up the others."""

import faulthandler
import re
import signal
from collections.abc import Iterable
from pathlib import Path

import torch

from modelyard.contract.base import Document

SIGNAL = signal.SIGUSR2
"""At which a rank writes its stacks, also while it waits in native code."""
_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
_TORCH = Path(torch.__file__).parent
_WAITS = (_TORCH / "distributed", _TORCH / "nn" / "parallel", _TORCH / "autograd" / "graph.py")
"""A rank whose innermost frame is here waits for the others: a collective, or the backward pass that holds one."""


class Whereabouts(Document):
    """Where one rank is."""

    rank: int
    beats: int
    """How often it has reported."""
    waits: bool
    """Whether it waits for other ranks."""
    frame: str
    """The innermost frame, and the innermost one of the user's code; empty where the rank did not answer."""


def answer_with_stacks(file: Path) -> None:
    """From now on this process writes the stacks of all its threads to ``file`` when asked. Raises OSError."""
    # Open for the life of the process.
    faulthandler.register(SIGNAL, file=file.open("w"), all_threads=True)


def whereabouts(rank: int, beats: int, stacks: str, code: Path) -> Whereabouts:
    """What ``stacks``, written by faulthandler, say of a rank whose user's code lies in ``code``."""
    # The main thread comes last: it is the oldest.
    frames = list(_FRAME.finditer(stacks[max(0, stacks.rfind("hread 0x")) :]))
    if not frames:
        return Whereabouts(rank=rank, beats=beats, waits=False, frame="")
    inner = frames[0]
    own = next((frame for frame in frames if Path(frame["file"]).is_relative_to(code)), None)
    texts = [_text(inner, code)]
    if own is not None and own is not inner:
        texts.append(_text(own, code))
    waits = any(Path(inner["file"]).is_relative_to(place) for place in _WAITS)
    return Whereabouts(rank=rank, beats=beats, waits=waits, frame=", called from ".join(texts))


def culprit(ranks: Iterable[Whereabouts]) -> Whereabouts:
    """The rank that did not arrive: one outside every collective, the one that reported least. Raises ValueError."""
    return min(ranks, key=lambda found: (found.waits, found.beats, found.rank))


def _text(frame: re.Match[str], code: Path) -> str:
    file = Path(frame["file"])
    name = file.relative_to(code) if file.is_relative_to(code) else file
    return f"{name}:{frame['line']} in {frame['name']}"
