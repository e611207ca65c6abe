"""Pace, time left and what is written when."""

import pytest
import torch

from modelyard.contract.reports import CheckpointReport, ProgressReport
from modelyard_trainer.pace import Position, eta_seconds
from modelyard_trainer.progress import Progress

CHECKPOINT = CheckpointReport(step=2, uri="pvc://ckpt/uid/step-00000002", digest=f"sha256:{'0' * 64}")


class Clock:
    """Seconds that pass only when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def progress() -> tuple[Progress, list[ProgressReport], Clock]:
    written: list[ProgressReport] = []
    clock = Clock()
    return Progress(written.append, clock), written, clock


def test_the_time_left_follows_the_pace_since_the_restart() -> None:
    restarted = Position(step=500, time=10.0)
    assert eta_seconds(restarted, Position(step=520, time=20.0), total_steps=1000) == 240
    assert eta_seconds(restarted, Position(step=1000, time=20.0), total_steps=1000) == 0
    assert eta_seconds(restarted, Position(step=500, time=20.0), total_steps=1000) is None
    assert eta_seconds(restarted, Position(step=520, time=20.0), total_steps=None) is None


def test_reports_are_written_five_times_a_second_and_the_last_one_always() -> None:
    told, written, clock = progress()
    for step in range(1, 8):
        told.report(step, 7, {"loss": 1 / step})
        clock.now += 0.125
    assert [report.step for report in written] == [1, 3, 5, 7]
    clock.now += 0.01
    told.report(8, 8, {})
    told.close()
    assert written[-1].step == 8
    told.close()
    assert len(written) == 5


def test_a_report_has_decimal_metrics_that_stay_until_reported_again() -> None:
    told, written, clock = progress()
    told.report(1, 10, {"loss": torch.tensor(0.25), "accuracy": 0.5})
    clock.now += 1
    told.report(2, 10, {"loss": float("nan")})
    clock.now += 1
    told.report(3, 10, {"loss": 1e-7})
    assert [report.metrics for report in written] == [
        {"loss": "0.25", "accuracy": "0.5"},
        {"accuracy": "0.5"},
        {"loss": "1e-07", "accuracy": "0.5"},
    ]


def test_a_commit_and_a_new_stage_are_written_at_once() -> None:
    told, written, _ = progress()
    told.report(2, 10, {"loss": 0.5})
    told.committed(CHECKPOINT)
    told.stage("Exporting")
    assert [(report.stage, report.step, report.checkpoint) for report in written] == [
        ("Training", 2, None),
        ("Training", 2, CHECKPOINT),
        ("Exporting", 2, CHECKPOINT),
    ]


def test_lines_are_printed_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    told, _, clock = progress()
    for step in range(1, 9):
        told.report(step, 8, {"loss": 0.5})
        clock.now += 1
    told.close()
    assert capsys.readouterr().out.splitlines() == [
        "step 1/8  loss 0.5",
        "step 6/8  loss 0.5  2 s left",
        "step 8/8  loss 0.5  0 s left",
    ]
