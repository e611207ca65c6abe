"""What the launchers of an attempt tell each other, through the store that node 0 holds as long as it lives."""

import time
from dataclasses import dataclass
from typing import Protocol, Self

from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.distributed_c10d import Store as TorchStore

from modelyard.contract.base import Document
from modelyard.contract.reports import InPlace
from modelyard_trainer import verdict
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.stacks import Whereabouts

_COUNT = "restarts"
_LAST = "last-incident"
_CHECKPOINT = "checkpoint"
_STOP = "stop"
_STOP_AT = "modelyard/stop-at"
_STALLED = "modelyard/stalled"


class Incident(Document):
    """A restart in place."""

    in_place: InPlace
    raised: bool
    """Whether a script raised; else a rank was killed, or ended by itself."""
    checkpoint: int
    """The step of the newest checkpoint then; 0 without one."""


class Words(Protocol):
    """What is used of torch's key-value store."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def add(self, key: str, amount: int, /) -> int: ...
    def check(self, keys: list[str], /) -> bool: ...


@dataclass
class Gang:
    """The words of one attempt. Every method raises torch's DistError when node 0 is gone."""

    store: Words
    """For the whole attempt."""
    generation: Words
    """For the ranks that run now; another one after each restart."""
    world_size: int = 0
    _told: int = 0

    @classmethod
    def of(cls, store: TorchStore, attempt: str) -> Self:
        """In a corner of the rendezvous' store, which outlives every generation of ranks."""
        words = PrefixStore(f"modelyard.{attempt}", store)
        return cls(words, words)

    def last_incident(self) -> Incident | None:
        """The last restart in place."""
        text = self._word(_LAST)
        return None if text is None else Incident.model_validate_json(text)

    def restarts_left(self, allowed: int) -> int:
        """How many more the job allows."""
        return max(0, allowed - self.store.add(_COUNT, 0))

    def restart(self, cause: RankFailure, allowed: int) -> bool:
        """Whether the ranks start again after ``cause``; if so, it is counted."""
        last = self.last_incident()
        checkpoint = int(self._word(_CHECKPOINT) or 0)
        count = self.store.add(_COUNT, 0) + 1
        repeats = last is not None and checkpoint <= last.checkpoint and last.raised and _same(last, cause)
        if count > allowed or not verdict.may_pass(cause, repeats=repeats):
            return False
        self.store.add(_COUNT, 1)
        in_place = InPlace(count=count, reason=cause.reason, message=cause.message, rank=cause.rank)
        self.store.set(_LAST, Incident(in_place=in_place, raised=cause.raised, checkpoint=checkpoint).to_json())
        return True

    def checkpointed(self, step: int) -> None:
        """Tell the step of the newest checkpoint, as often as one likes."""
        if step != self._told:
            self.store.set(_CHECKPOINT, str(step))
            self._told = step

    def ask_to_stop(self) -> None:
        """Have every pod of the attempt save and end."""
        self.store.set(_STOP, "")

    def asked_to_stop(self) -> bool:
        """Whether a pod of the attempt was asked to end."""
        return self.store.check([_STOP])

    def tell_stop_at(self, beats: int) -> None:
        """Have every rank stop at its report of that number."""
        self.generation.set(_STOP_AT, str(beats))

    def stop_at(self) -> int | None:
        """The report at which the ranks stop, once it is decided."""
        return int(self.generation.get(_STOP_AT)) if self.generation.check([_STOP_AT]) else None

    def tell_stalled(self) -> None:
        """Have every launcher tell where its ranks are."""
        self.generation.set(_STALLED, "")

    def stalled(self) -> bool:
        """Whether a launcher found that its ranks hang."""
        return self.generation.check([_STALLED])

    def tell_whereabouts(self, found: Whereabouts) -> None:
        """Where a rank of this pod is."""
        self.generation.set(f"{_STALLED}/{found.rank}", found.to_json())

    def whereabouts(self, seconds: float) -> list[Whereabouts]:
        """Where all ranks are, waiting at most so long for the launchers to tell; not empty."""
        keys = [f"{_STALLED}/{rank}" for rank in range(self.world_size)]
        deadline = time.monotonic() + seconds
        while not self.generation.check(keys) and time.monotonic() < deadline:
            time.sleep(0.05)
        told = (self.generation.get(key) for key in keys if self.generation.check([key]))
        return [Whereabouts.model_validate_json(text) for text in told]

    def _word(self, key: str) -> str | None:
        return self.store.get(key).decode() if self.store.check([key]) else None


def _same(last: Incident, cause: RankFailure) -> bool:
    return cause.raised and verdict.without_rank(last.in_place.message) == verdict.without_rank(cause.message)
