"""Faults of a training on this machine's processes. The whole list runs in ``make test-faults``."""

import os

import pytest

from laptop_stage import LaptopStage
from scenarios import ANYWHERE

SHORT = (
    "worker_pod_lost", "rank_hangs", "script_error_on_one_rank", "suspended_twice", "elastic_resized",
    "impossible_request",
)  # fmt: skip
"""Those that ``make test`` does not show elsewhere."""
ALL = bool(os.environ.get("MODELYARD_ALL_FAULTS"))


@pytest.mark.parametrize("scenario", ANYWHERE if ALL else SHORT)
def test_a_training_survives(scenario: str, stage: LaptopStage) -> None:
    ANYWHERE[scenario](stage)
