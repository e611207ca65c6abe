"""The ranks of a run: which one this is, its device, and how rank 0 shares a decision with the others."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from modelyard_trainer.errors import PeerLostError
from modelyard_trainer.rendezvous import obstacle

Backend = Literal["Auto", "Gloo", "Nccl"]

_SHARED_WAIT = timedelta(hours=24)
"""For work of rank 0 that the others wait for. Its death breaks the connection, so this only bounds a hang."""
_LEAVE_WAIT = timedelta(seconds=60)
_STORE_SECONDS = 30.0
_POLL_SECONDS = 0.02
_ALL_LEFT = "modelyard/all-left"


class Store(Protocol):
    """What is used of torch's key-value store, which rank 0 holds."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def add(self, key: str, amount: int, /) -> int: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...
    def check(self, keys: list[str], /) -> bool: ...
    def clone(self) -> "Store": ...


@dataclass
class Group:
    """One rank among the others."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device
    store: Store | None
    """None for a script that no launcher started."""
    _shared: dict[str, int] = field(default_factory=dict)
    _aside: Store | None = None

    def from_rank_zero(self, name: str, work: Callable[[], str]) -> str:
        """What ``work`` returns on rank 0, on every rank; ``name`` says what they wait for.

        It goes through the store instead of a collective: the wait has no relation to the collectives' timeout, and a
        rank 0 that calls this alone does not wait for anyone. Raises what ``work`` raises on rank 0, and PeerLostError
        on the others.
        """
        self._shared[name] = turn = self._shared.get(name, 0) + 1
        key = f"modelyard/{name}/{turn}"
        if self.rank == 0:
            return self._share(key, work, self.store)
        if self.store is None:
            raise PeerLostError(f"rank {self.rank} has no connection to rank 0")
        self.store.wait([key], _SHARED_WAIT)
        return _read(self.store, key, name, 0)

    def together(self, name: str, work: Callable[[], str], end: Callable[[list[str]], str]) -> str:
        """What rank 0 makes, by ``end``, of what ``work`` returns on every rank, by rank; on every rank.

        For a thread of its own: it has its own connection. Every rank must call it equally often. Raises what ``work``
        and ``end`` raise here, and PeerLostError for what was raised on another rank.
        """
        if self.store is None:
            return end([work()])
        words = self._aside = self._aside or self.store.clone()
        self._shared[name] = turn = self._shared.get(name, 0) + 1
        keys = [f"modelyard/{name}/{turn}/{rank}" for rank in range(self.world_size)]
        key = f"modelyard/{name}/{turn}"
        self._share(keys[self.rank], work, words)
        if self.rank == 0:
            return self._share(
                key, lambda: end([_read(words, each, name, rank) for rank, each in enumerate(keys)]), words
            )
        return _read(words, key, name, 0)

    def _share(self, key: str, work: Callable[[], str], words: Store | None) -> str:
        try:
            text = work()
        except BaseException as error:
            if words is not None:
                words.set(key, f"failed:{type(error).__name__}: {error}")
            raise
        if words is not None:
            words.set(key, f"done:{text}")
        return text

    def leave(self) -> None:
        """Destroy the process group. Rank 0 holds the store, so it goes last, but waits at most a minute."""
        if self.store is None:
            return
        if self.store.add("modelyard/left", 1) == self.world_size:
            self.store.set(_ALL_LEFT, "")
        if self.rank == 0:
            with suppress(distributed.DistStoreError):
                self.store.wait([_ALL_LEFT], _LEAVE_WAIT)
        distributed.destroy_process_group()


def _wait_for_store(host: str, port: int) -> None:
    """Return when rank 0 listens. Torch, refused once, tries again only after half a second, and gives up by itself."""
    deadline = time.monotonic() + _STORE_SECONDS
    while obstacle(host, port) is not None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _read(words: Store, key: str, name: str, rank: int) -> str:
    """What ``_share`` wrote on that rank, once it is there. Raises PeerLostError for an error."""
    while not words.check([key]):
        time.sleep(_POLL_SECONDS)
    verdict, _, text = words.get(key).decode().partition(":")
    if verdict == "failed":
        raise PeerLostError(f"{name} failed on rank {rank}: {text}")
    return text


@contextmanager
def joined(backend: Backend) -> Iterator[Group]:
    """The process group that torchrun's variables describe, or a group of one where there are none.

    Auto is NCCL for GPUs beside gloo for the CPU where CUDA is there, else gloo alone; Gloo trains on the CPU. A script
    that raises leaves the group to the end of its process: taking part in a clean end would wait for the others.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    gpu = backend == "Nccl" or (backend == "Auto" and torch.cuda.is_available())
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Group(0, local_rank, 1, device, store=None)
        return
    if os.environ["RANK"] != "0" and {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        _wait_for_store(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    store, rank, world_size = next(rendezvous("env://"))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo", store=store, rank=rank, world_size=world_size
    )
    group = Group(rank, local_rank, world_size, device, store)
    yield group
    group.leave()
