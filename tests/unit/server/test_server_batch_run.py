import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_server.batch_queue import Job
from modelyard_server.batch_run import BatchRunner
from modelyard_server.tensors import Tensor


def doubled(inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
    """The model: twice the input, and the input; refuses values above 100."""
    x = np.asarray(inputs["x"], np.float32)
    assert inputs["x"].flags.aligned
    if x.max(initial=0) > 100:
        raise ValueError("too large")
    return [{"twice": x + x, "same": x}[name] for name in outputs]


def job(values: Tensor) -> Job:
    return Job({"x": values}, ("twice", "same"), len(values), lambda job, outcome: None)


def tensor(*rows: float) -> Tensor:
    return np.array([[row, row] for row in rows], np.float32).reshape(len(rows), 2)


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=4))
def test_each_request_gets_what_it_would_get_alone(batch: list[list[int]]) -> None:
    runner = BatchRunner(doubled, rows=12)
    jobs = [job(tensor(*rows)) for rows in batch]
    for _ in range(2):  # the second time in memory that was used before
        outcomes = runner(jobs)
        for each, outcome in zip(jobs, outcomes, strict=True):
            assert not isinstance(outcome, Exception)
            np.testing.assert_array_equal(outcome, doubled(each.inputs, each.outputs))


def test_a_request_that_the_model_refuses_does_not_fail_the_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    good, bad = job(tensor(1)), job(tensor(101))
    first, second = BatchRunner(doubled, rows=8)([good, bad])
    assert not isinstance(first, Exception)
    assert first[0].tolist() == [[2, 2]]
    assert isinstance(second, ValueError)
    assert "a batch of 2 failed and is run one by one: too large" in caplog.text


@pytest.mark.parametrize("count", [1, 2])
def test_bytes_at_an_odd_address_reach_the_model_aligned(count: int) -> None:
    odd = np.frombuffer(memoryview(bytes(9))[1:], np.float32).reshape(1, 2)
    assert not odd.flags.aligned
    for outcome in BatchRunner(doubled, rows=8)([job(odd)] * count):
        assert not isinstance(outcome, Exception)
        assert outcome[0].tolist() == [[0, 0]]
