"""Which rank trains on which sample, so that an epoch loses and doubles none, however often the world is resized."""

from collections.abc import Iterator, Sized
from functools import lru_cache

import torch
from torch.utils.data import Sampler


class ElasticSampler(Sampler[int]):
    """Deals the samples of a data set out to the ranks.

    All epochs together are one endless row of samples, each epoch in an order of its own that depends on nothing but
    ``seed``. A step takes the next ``world_size * batch_size`` of the row, so all that must be remembered is how many
    were taken: keep ``state_dict()`` in the checkpoint, and ``load_state_dict`` goes on, on any number of ranks, with
    exactly the samples that are left. Every rank takes equally many; a step may end one epoch and begin the next.

    Use it for ``DataLoader(data, batch_size, sampler=sampler)``, call ``advance`` after each step, and loop ``while
    sampler.epoch < epochs``: iterating ends with the step that completes the epoch.
    """

    def __init__(
        self, data: Sized, rank: int, world_size: int, *, batch_size: int = 1, shuffle: bool = True, seed: int = 0
    ) -> None:
        """``rank`` of ``world_size`` takes ``batch_size`` samples a step. Raises ValueError for less than one."""
        if not 0 <= rank < world_size or batch_size < 1 or len(data) < 1:
            raise ValueError(f"rank {rank} of {world_size} with {batch_size} of {len(data)} samples a step: none fits")
        self._size = len(data)
        self._rank = rank
        self._step = world_size * batch_size
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._taken = 0

    @property
    def epoch(self) -> int:
        """The epochs that are complete: the number of the present one, from 0."""
        return self._taken // self._size

    def advance(self) -> None:
        """One more step is done, on all ranks. Loading ahead, as data loaders do, is no step."""
        self._taken += self._step

    def state_dict(self) -> dict[str, int]:
        """The same on every rank."""
        return {"taken": self._taken, "size": self._size, "seed": self._seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after ``state``. Raises ValueError if it is of another data set or seed."""
        if (state["size"], state["seed"]) != (self._size, self._seed):
            raise ValueError(
                f"the checkpoint counts {state['size']} samples with seed {state['seed']}, the script {self._size} "
                f"with seed {self._seed}; start from the beginning, or give it the data that it had"
            )
        self._taken = state["taken"]

    def __len__(self) -> int:
        """The samples of this rank that are left of the present epoch."""
        left = self._size - self._taken % self._size
        return -(-left // self._step) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        """Indices for this rank, from the present step to the one that completes the epoch."""
        start = self._taken + self._rank * self._batch_size
        for step in range(len(self) // self._batch_size):
            for position in range(start + step * self._step, start + step * self._step + self._batch_size):
                yield self._order(position // self._size)[position % self._size]

    def _order(self, epoch: int) -> list[int]:
        return _shuffled(self._size, self._seed + epoch) if self._shuffle else list(range(self._size))


@lru_cache(maxsize=2)
def _shuffled(size: int, seed: int) -> list[int]:
    order: list[int] = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    return order
