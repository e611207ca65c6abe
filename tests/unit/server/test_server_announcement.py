"""What a pod tells of how it runs its model."""

from modelyard.contract.reports import Serving
from modelyard_server.announcement import serving
from modelyard_server.tuning import Tuning

TUNING = Tuning("Threads", 2, 1, 6, {1: 100.4, 2: 150.0, 4: 200.0, 8: 400.0}, "measured")


def test_rates_come_from_the_measured_run_that_is_nearest_to_the_batch() -> None:
    assert serving("CPUExecutionProvider", TUNING) == Serving(
        provider="Cpu", mode="Threads", instances=2, threads=1, max_batch=6, run_microseconds=100, rows_per_second=40000
    )
    assert serving("CUDAExecutionProvider", TUNING).provider == "Cuda"
