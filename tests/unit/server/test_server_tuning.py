from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from modelyard.contract.artifact import TensorSpec
from modelyard.contract.runs import BatchingRun
from modelyard_server.session import Model
from modelyard_server.tensors import Signature, Tensor
from modelyard_server.tuning import best_rows, choose, measure

AUTO = BatchingRun()
TINY = {1: 10e-6, 2: 10e-6, 4: 11e-6, 8: 12e-6, 16: 15e-6, 32: 22e-6, 64: 40e-6}
MIDDLE = {1: 1e-3, 2: 1.2e-3, 4: 1.6e-3, 8: 2.6e-3, 16: 5.2e-3}
LARGE = {1: 30e-3, 2: 60e-3}


@pytest.mark.parametrize(
    ("seconds", "longest", "rows"),
    [
        (TINY, 1.0, 64),
        (TINY, 15e-6, 16),
        (MIDDLE, 1.0, 8),  # 16 rows take twice as long as 8
        (LARGE, 1.0, 1),  # no gain
        (LARGE, 1e-3, 1),  # one row is always a choice
        ({1: 1e-3}, 1.0, 1),
    ],
)
def test_the_fewest_rows_with_the_best_throughput(seconds: dict[int, float], longest: float, rows: int) -> None:
    assert best_rows(seconds, longest) == rows


def test_a_tiny_model_runs_on_the_event_loop() -> None:
    tuning = choose(TINY, 4, alone=True, batching=AUTO, threads=None)
    assert (tuning.mode, tuning.instances, tuning.threads, tuning.max_batch) == ("Inline", 1, 1, 64)


def test_another_runs_in_a_thread_for_each_cpu() -> None:
    tuning = choose(MIDDLE, 4, alone=True, batching=AUTO, threads=None)
    assert (tuning.mode, tuning.instances, tuning.threads, tuning.max_batch) == ("Threads", 4, 1, 8)


def test_fixed_values_are_taken() -> None:
    fixed = BatchingRun(max_batch_size=5)
    tuning = choose(TINY, 4, alone=True, batching=fixed, threads=2)
    assert (tuning.mode, tuning.instances, tuning.threads, tuning.max_batch) == ("Threads", 2, 2, 5)


@pytest.mark.parametrize(
    ("batching", "alone", "reason"),
    [
        (BatchingRun(mode="Off"), True, "batching is off"),
        (AUTO, False, "no batching: the rows of this model are not known to be independent"),
        (BatchingRun(max_batch_size=8), False, "no batching: the rows of this model are not known to be independent"),
    ],
)
def test_where_requests_must_not_share_a_run_they_do_not(batching: BatchingRun, *, alone: bool, reason: str) -> None:
    tuning = choose(TINY, 1, alone=alone, batching=batching, threads=None)
    assert (tuning.max_batch, tuning.reason) == (1, reason)


@pytest.mark.parametrize(("seconds", "patience"), [(MIDDLE, 1e-4), (LARGE, 5e-4)])
def test_a_batch_waits_for_clients_a_tenth_of_a_run(seconds: dict[int, float], patience: float) -> None:
    tuning = choose(seconds, 1, alone=True, batching=AUTO, threads=None)
    assert tuning.patience == pytest.approx(patience)


def test_the_choice_can_be_told() -> None:
    tuning = replace(choose(LARGE, 1, alone=True, batching=AUTO, threads=None), reason="measured")
    assert tuning.document() == {
        "mode": "Threads",
        "instances": 1,
        "threads": 1,
        "max_batch": 1,
        "microseconds": {"1": 30000.0, "2": 60000.0},
        "reason": "measured",
    }


class Constant(Model):
    """Takes as long for any number of rows, each of ``columns`` numbers."""

    def __init__(self, columns: int) -> None:
        self._work = np.ones(1 << 18, np.float32)
        inputs, outputs = (TensorSpec(name=name, datatype="FP32", shape=[-1, columns]) for name in ("x", "y"))
        self.signature = Signature("constant", "1", (inputs,), (outputs,))

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        return [np.full((len(inputs["x"]), 1), self._work.sum())]


@pytest.mark.parametrize(("columns", "shares"), [(1, True), (1 << 20, False)])
def test_to_put_rows_side_by_side_counts(columns: int, *, shares: bool) -> None:
    assert (best_rows(measure(Constant(columns), batched=True, most=4), 1.0) > 1) == shares
