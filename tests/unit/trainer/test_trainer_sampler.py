"""No sample is lost or doubled within an epoch, however the world is resized."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from modelyard_trainer import ElasticSampler

Resize = tuple[int, int, int]
"""A number of ranks, a batch size, and the steps that are done with them."""


def trained(size: int, resizes: list[Resize]) -> tuple[list[int], int]:
    """The samples in the order in which the ranks took them, and the number of complete epochs."""
    samples: list[int] = []
    state: dict[str, int] | None = None
    for world_size, batch_size, steps in resizes:
        ranks = [ElasticSampler(range(size), rank, world_size, batch_size=batch_size) for rank in range(world_size)]
        for sampler in ranks:
            if state is not None:
                sampler.load_state_dict(state)
        done = 0
        while done < steps:
            loaders = [
                iter(DataLoader(TensorDataset(torch.arange(size)), batch_size, sampler=sampler)) for sampler in ranks
            ]
            for _ in range(min(steps - done, len(ranks[0]) // batch_size)):
                for loader in loaders:
                    samples += next(loader)[0].tolist()
                for sampler in ranks:
                    sampler.advance()
                done += 1
        state = ranks[0].state_dict()
        epochs = ranks[0].epoch
    return samples, epochs


@settings(deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=5),
)
def test_every_epoch_holds_each_sample_once_whatever_the_resizes(size: int, resizes: list[Resize]) -> None:
    samples, epochs = trained(size, resizes)
    assert epochs == len(samples) // size
    for epoch in range(epochs):
        assert sorted(samples[epoch * size : (epoch + 1) * size]) == list(range(size))
    assert set(Counter(samples[epochs * size :]).values()) <= {1}


def test_the_order_does_not_depend_on_the_number_of_ranks_and_changes_with_the_epoch() -> None:
    one, _ = trained(12, [(1, 1, 24)])
    three, _ = trained(12, [(3, 2, 4)])
    assert one == three
    assert one[:12] != one[12:]


def test_all_ranks_take_equally_many_also_at_the_end_of_an_epoch() -> None:
    ranks = [ElasticSampler(range(10), rank, 4, shuffle=False) for rank in range(4)]
    assert [list(sampler) for sampler in ranks] == [[0, 4, 8], [1, 5, 9], [2, 6, 0], [3, 7, 1]]


def test_the_state_of_another_data_set_is_refused() -> None:
    state = ElasticSampler(range(10), 0, 1).state_dict()
    with pytest.raises(ValueError, match="counts 10 samples with seed 0, the script 11"):
        ElasticSampler(range(11), 0, 1).load_state_dict(state)
