import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelyard.contract import layout
from modelyard.contract.compression import ParetoPoint
from modelyard.contract.decimals import decimal
from modelyard.contract.reports import TERMINATION_LIMIT, ProgressReport, Termination


def failed(message: str) -> Termination:
    return Termination(outcome="Failed", reason="ProcessError", message=message, rank=3)


@given(st.text(max_size=3000), st.integers(1, 4))
def test_a_termination_message_fits_whatever_it_says(text: str, times: int) -> None:
    assert len(failed(text * times).fitted().to_json().encode()) <= TERMINATION_LIMIT


@pytest.mark.parametrize("character", ["a", "\n", "é", "語", "🙂"])
def test_a_long_message_keeps_its_start_and_its_end_and_fills_the_space(character: str) -> None:
    fitted = failed("start" + character * 10_000 + "end").fitted()
    assert fitted.message.startswith("start")
    assert fitted.message.endswith("end")
    assert TERMINATION_LIMIT - 4 <= len(fitted.to_json().encode()) <= TERMINATION_LIMIT


def test_a_short_message_stays_as_it_is() -> None:
    assert failed("loss is NaN").fitted() == failed("loss is NaN")


@pytest.mark.parametrize("reason", ["", "not camel case", "x" * 129])
def test_a_reason_is_one_that_a_condition_can_carry(reason: str) -> None:
    with pytest.raises(ValidationError):
        Termination(outcome="Failed", reason=reason, message="")


def test_the_termination_message_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    log = tmp_path / layout.TERMINATION_LOG
    log.touch()
    before = log.stat().st_ino
    failed("äöü").write()
    assert json.loads(log.read_text()) == {
        "outcome": "Failed",
        "reason": "ProcessError",
        "message": "äöü",
        "rank": 3,
        "inputs": [],
        "gates": [],
        "pareto": [],
    }
    assert log.stat().st_ino == before


def test_points_of_the_front_make_room_for_the_message() -> None:
    points = [
        ParetoPoint(trial=f"{index}" * 200, accuracy_drop="0", latency_p50_milliseconds="1", size_bytes=1)
        for index in range(20)
    ]

    fitted = failed("ä" * 100).model_copy(update={"pareto": points}).fitted()

    assert len(fitted.to_json().encode()) <= TERMINATION_LIMIT
    assert fitted.message == "ä" * 100
    assert 0 < len(fitted.pareto) < 20
    assert fitted.pareto == points[: len(fitted.pareto)]


def test_a_progress_report_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layout.ROOT_VARIABLE, str(tmp_path))
    (tmp_path / layout.WORK).mkdir()
    for step in (1, 2):
        report = ProgressReport(stage="Training", step=step, time="2026-05-01T12:00:00Z")
        report.write()
    written = tmp_path / layout.WORK / layout.PROGRESS_FILE
    assert ProgressReport.model_validate_json(written.read_bytes()) == report
    assert [path.name for path in written.parent.iterdir()] == [layout.PROGRESS_FILE]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_within_its_digits_of_the_number(value: float) -> None:
    assert float(decimal(value)) == pytest.approx(value, rel=1e-5)


def test_no_decimal_stands_for_what_is_not_a_finite_number() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        decimal(float("inf"))
