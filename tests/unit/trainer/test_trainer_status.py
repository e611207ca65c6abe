"""Kubeflow Trainer's status protocol: what a client tells becomes a report, and reaches the operator."""

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from modelyard.contract import forward
from modelyard.contract.reports import ProgressReport
from modelyard.contract.runs import Objective
from modelyard_trainer import endpoint, status
from modelyard_trainer.status import Metric, TrainerStatus, Update

NOW = "2026-01-01T00:00:00+00:00"
BEFORE = ProgressReport(stage="Starting", world_size=4, best="0.25", time="")
OBJECTIVE = Objective(metric="eval_loss", goal="Minimize")


def told(percentage: int | None = None, **metrics: str) -> Update:
    named = [Metric(name=name, value=value) for name, value in metrics.items()]
    return Update(trainer_status=TrainerStatus(progress_percentage=percentage, metrics=named))


def test_hugging_faces_metrics_hold_the_step_and_the_total() -> None:
    report = status.taken(
        told(20, current_step="10", total_steps="50", eval_loss="0.125", note="nan"), BEFORE, OBJECTIVE, NOW
    )
    assert report == ProgressReport(
        stage="Training",
        step=10,
        total_steps=50,
        metrics={"eval_loss": "0.125"},
        best="0.125",
        world_size=4,
        resumed_step=0,
        time=NOW,
    )


def test_a_client_that_tells_only_a_percentage_counts_hundredths() -> None:
    report = status.taken(told(37), BEFORE, None, NOW)
    assert (report.step, report.total_steps) == (37, 100)


def test_a_last_report_without_a_step_keeps_the_one_before() -> None:
    report = status.taken(told(100, loss="0.5"), BEFORE.model_copy(update={"step": 49, "total_steps": 50}), None, NOW)
    assert (report.step, report.total_steps) == (49, 50)


@pytest.fixture
def updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue[Update]]:
    """An endpoint that this process's environment leads to."""
    for name in (endpoint.URL, endpoint.TOKEN, endpoint.CA_CERT):
        monkeypatch.setenv(name, "")
    received: Queue[Update] = Queue()
    with endpoint.offered(tmp_path, received.put):
        yield received


def test_what_is_sent_to_the_operator_is_the_protocol_and_more(updates: Queue[Update]) -> None:
    report = BEFORE.model_copy(update={"step": 10, "total_steps": 40, "eta_seconds": 3, "metrics": {"loss": "0.5"}})
    with forward.forwarded(endpoint.operator(os.environ), lambda: status.body(report), print):
        update = updates.get(timeout=10)
    assert update.trainer_status == TrainerStatus(
        progress_percentage=25, estimated_remaining_seconds=3, metrics=[Metric(name="loss", value="0.5")]
    )
    assert status.body(report)["modelyard"] == report.model_dump(mode="json", exclude_none=True)


def test_an_operator_that_is_away_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = forward.Operator("http://127.0.0.1:9/status", None, None)
    with forward.forwarded(nobody, lambda: status.body(BEFORE), print):
        pass
    assert "progress does not reach http://127.0.0.1:9/status" in capsys.readouterr().out


@pytest.mark.parametrize(("token", "body", "code"), [("wrong", b"{}", 401), (None, b"{}", 422), (None, b"x", 422)])
def test_who_has_no_token_or_no_status_is_refused(
    updates: Queue[Update], token: str | None, body: bytes, code: int
) -> None:
    file = Path(os.environ[endpoint.TOKEN])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    request = urllib.request.Request(
        os.environ[endpoint.URL], body, {"Authorization": f"Bearer {token or file.read_text()}"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    assert refused.value.code == code
    assert updates.empty()
