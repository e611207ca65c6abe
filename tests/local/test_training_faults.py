"""Faults of a training on this machine's processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop_stage import LaptopStage
from scenarios import ANYWHERE


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LaptopStage]:
    stage = LaptopStage(tmp_path)
    try:
        yield stage
    finally:
        stage.close()


@pytest.mark.parametrize("scenario", ANYWHERE)
def test_a_training_survives(scenario: str, stage: LaptopStage) -> None:
    ANYWHERE[scenario](stage)
