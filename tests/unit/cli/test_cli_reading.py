"""Names, files and tables of the command line."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.cli.display import detail, share_done
from modelyard.cli.errors import BadInput
from modelyard.cli.files import key_of, kind_of, read
from modelyard.cli.tables import age, object_table
from modelyard.cli.verdict import Verdict, verdict

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def job(*conditions: str, **status: object) -> JsonObject:
    """A TrainingJob on which these conditions are True."""
    found = [{"type": kind, "status": "True", "reason": "Test"} for kind in conditions]
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "creationTimestamp": "2026-11-24T11:58:00Z"},
        "status": {"conditions": found, **status},  # type: ignore[dict-item]
    }


@pytest.mark.parametrize("word", ["TrainingJob", "trainingjob", "trainingjobs", "tjob", "TJOB"])
def test_a_kind_goes_by_all_its_names(word: str) -> None:
    assert kind_of(word).name == "TrainingJob"


def test_an_unknown_kind_is_told_the_known_ones() -> None:
    with pytest.raises(BadInput, match="tjob"):
        kind_of("pods")


def test_an_object_is_kind_slash_name() -> None:
    assert key_of("msvc/digits", "default") == ObjectKey("ModelService", "default", "digits")


def test_a_list_is_its_items_and_each_gets_a_namespace(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("kind: List\nitems:\n- {kind: A, metadata: {name: a}}\n- {kind: B, metadata: {namespace: x}}\n")
    assert read(path) == [
        {"kind": "A", "metadata": {"name": "a", "namespace": "default"}},
        {"kind": "B", "metadata": {"namespace": "x"}},
    ]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), "working"),
        (("Accepted", "Reconciling"), "working"),
        (("Accepted",), "good"),
        (("Accepted", "Complete"), "good"),
        (("Ready",), "good"),
        (("Ready", "Reconciling"), "working"),
        (("Ready", "Stalled"), "bad"),
        (("Failed", "Stalled"), "bad"),
        (("Rejected", "Stalled"), "bad"),
    ],
)
def test_an_object_is_at_rest_by_its_conditions(conditions: tuple[str, ...], expected: Verdict) -> None:
    assert verdict(job(*conditions)) == expected


def test_a_pod_that_does_not_fit_will_not_fit_later() -> None:
    body = job("Accepted", "Reconciling")
    status = body["status"]
    assert isinstance(status, dict)
    assert isinstance(status["conditions"], list)
    status["conditions"].append({"type": "Scheduled", "status": "False", "reason": "Unschedulable"})
    assert verdict(body) == "bad"


def test_a_fresh_object_is_at_work() -> None:
    assert verdict({"metadata": {"name": "x"}}) == "working"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-11-24T11:59:55Z", "5s"),
        ("2026-11-24T11:58:00Z", "2m"),
        ("2026-11-24T09:00:00Z", "3h"),
        ("2026-11-20T12:00:00Z", "4d"),
    ],
)
def test_ages_read_as_kubectl_says_them(moment: str, text: str) -> None:
    assert age(moment, NOW) == text


def test_get_shows_the_printer_columns() -> None:
    screen = io.StringIO()
    body = job(state="Running", attempt=2, progress={"percent": 46})
    Console(width=100, file=screen).print(object_table(kind_of("tjob"), [body], NOW, wide=False))
    lines = [line.split() for line in screen.getvalue().splitlines()]
    assert lines == [
        ["NAME", "STATE", "PROGRESS", "ATTEMPT", "AGE"],
        ["trainingjob/digits", "Running", "46", "2", "2m"],
    ]


def test_progress_is_a_share_and_a_line() -> None:
    progress = {"step": 50, "totalSteps": 200, "etaSeconds": 9, "metrics": [{"name": "loss", "value": "0.1"}]}
    body = job("Reconciling", message="attempt 1, 4 ranks", progress=progress)
    assert (share_done(body), detail(body)) == (0.25, "attempt 1, 4 ranks, step 50, loss 0.1, 9 s left")
