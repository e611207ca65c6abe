"""Calibration takes the same memory however many samples there are."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("calibrating.py")


def peak(method: str, samples: int) -> int:
    """In MiB, of a process of its own."""
    command = [sys.executable, str(SCRIPT), method, str(samples)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("method", ["MinMax", "Entropy", "Percentile"])
def test_ten_times_the_samples_take_the_same_memory(method: str) -> None:
    few, many = peak(method, 16), peak(method, 160)

    assert many == pytest.approx(few, rel=0.1)
