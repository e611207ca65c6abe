"""What the operator counts."""

from collections import Counter

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.kinds import KINDS
from modelyard.telemetry.metrics import Metrics, states

KEY = ObjectKey("TrainingJob", "default", "a")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"modelyard_{name}", labels)


def body(kind: str, state: str | None) -> JsonObject:
    return {"kind": kind, "status": {"state": state}} if state is not None else {"kind": kind}


def test_a_key_counts_in_the_depth_until_a_worker_has_it() -> None:
    metrics = Metrics(KINDS)
    metrics.queued(KEY)
    waiting = value(metrics, "workqueue_depth", kind="TrainingJob")
    metrics.taken(KEY)
    assert (waiting, value(metrics, "workqueue_depth", kind="TrainingJob")) == (1, 0)
    assert value(metrics, "workqueue_queue_seconds_count", kind="TrainingJob") == 1
    assert value(metrics, "workqueue_adds_total", kind="TrainingJob") == 1


def test_visits_are_counted_by_how_they_ended() -> None:
    metrics = Metrics(KINDS)
    metrics.visited(KEY, "success", 0.02)
    metrics.visited(KEY, "unavailable", 3)
    metrics.retried(KEY)
    found = [value(metrics, "reconcile_total", kind="TrainingJob", result=each) for each in ("success", "unavailable")]
    assert found == [1, 1]
    assert value(metrics, "reconcile_seconds_sum", kind="TrainingJob") == 3.02
    assert value(metrics, "reconcile_errors_total", kind="TrainingJob") == 1
    assert value(metrics, "workqueue_retries_total", kind="TrainingJob") == 1


def test_all_series_of_a_kind_are_there_from_the_start() -> None:
    assert value(Metrics(KINDS), "reconcile_total", kind="ModelService", result="error") == 0


def test_objects_are_counted_by_documented_states_only() -> None:
    bodies = [
        body("TrainingJob", "Running"),
        body("TrainingJob", "Running"),
        body("TrainingJob", None),
        body("ModelService", "Running"),
    ]
    found = states(KINDS, bodies)
    assert {labels: count for labels, count in found.items() if count} == {
        ("TrainingJob", "Running"): 2,
        ("TrainingJob", "New"): 1,
        ("ModelService", "Other"): 1,
    }
    assert found["TrainingJob", "Failed"] == 0


def test_what_others_count_is_shown_as_it_is_now() -> None:
    metrics = Metrics(KINDS)
    requests = Counter({("GET", 200): 1})
    metrics.show_requests(requests)
    metrics.show_events({"written": 3})
    metrics.show_objects(lambda: [body("TrainingJob", "Complete")])
    requests["GET", 200] += 1
    assert value(metrics, "client_requests_total", method="GET", code="200") == 2
    assert value(metrics, "events_total", result="written") == 3
    assert value(metrics, "objects", kind="TrainingJob", state="Complete") == 1


def test_an_objects_progress_and_restarts_are_metrics() -> None:
    status = {
        "progress": {"percent": 45, "best": "0.91"},
        "restarts": {"counted": 2, "uncounted": 1, "last": {"recoverySeconds": 7}},
    }
    metrics = Metrics(KINDS)
    metrics.show_objects(
        lambda: [{"kind": "TrainingJob", "metadata": {"namespace": "a", "name": "b"}, "status": status}]  # type: ignore[dict-item]  # JSON
    )
    labels = {"kind": "TrainingJob", "namespace": "a", "name": "b"}
    read = metrics.registry.get_sample_value
    assert [
        read("modelyard_progress_ratio", labels),
        read("modelyard_best_metric", labels),
        read("modelyard_restarts", {**labels, "counted": "true"}),
        read("modelyard_restarts", {**labels, "counted": "false"}),
        read("modelyard_recovery_seconds", labels),
    ] == [0.45, 0.91, 2, 1, 7]
