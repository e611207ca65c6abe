"""What the operator tells of objects and of itself: Events, metrics, refusals."""

import signal

from modelyard.clusters.kube.resources import resource_types
from modelyard.kinds import KINDS
from operators import PUBLISHED, Cluster, Operator, settled, sources, training, two_pods
from waiting import until

FAILED = {"outcome": "Failed", "reason": "ProcessError", "message": "rank 0: ValueError: x", "rank": 0}
SUCCEEDED = {"outcome": "Succeeded", "reason": "Completed", "message": "", "artifact": PUBLISHED}


def state(cluster: Cluster, wanted: str) -> None:
    """Wait for a state that the operator has written; one without conditions is the CRD's default."""

    def there() -> bool:
        status = cluster.status("trainingjobs", "digits")
        return status.get("state") == wanted and "conditions" in status

    until(there, wanted)


def test_a_training_reads_as_a_history_that_a_restart_does_not_repeat(cluster: Cluster, operator: Operator) -> None:
    training(cluster, restart={"backoffSeconds": 0})
    state(cluster, "Waiting")
    sources(cluster)
    first = two_pods(cluster, "digits-train-1")
    state(cluster, "Starting")
    cluster.end(first[0], "Failed", FAILED)
    second = two_pods(cluster, "digits-train-2")
    for pod in second:
        cluster.run(pod)
    until(lambda: cluster.condition("trainingjobs", "digits", "Running").get("status") == "True", "all pods run")
    cluster.end(second[0], "Succeeded", SUCCEEDED)
    cluster.end(second[1], "Succeeded")
    state(cluster, "Complete")

    def history() -> list[tuple[str, str, str]]:
        return cluster.history("TrainingJob", "digits")

    told = settled(history)
    published = f"{PUBLISHED['uri']} {PUBLISHED['digest']}"
    missing = "spec.code.configMap: ConfigMap 'code' not found; create it in the same namespace"
    failed = "attempt 1 failed (ProcessError: rank 0: ValueError: x); again in 0 s from the beginning"
    assert told == [
        ("Warning", "ConfigMapNotFound", missing),
        ("Normal", "Starting", "attempt 1, 0 of 2 pods run"),
        ("Warning", "Restarting", failed),
        ("Normal", "Starting", "attempt 2, 0 of 2 pods run"),
        ("Normal", "AllPodsRun", "attempt 2, 2 ranks start"),
        ("Normal", "Published", published),
        ("Normal", "Completed", f"published {PUBLISHED['uri']}"),
    ]
    operator.stop(signal.SIGKILL)
    operator.start()
    visited = 'modelyard_reconcile_total{kind="TrainingJob",result="success"}'
    until(lambda: operator.metrics().get(visited, 0) > 0, "a visit")
    assert settled(history) == told


def test_a_file_of_one_machine_is_refused_with_the_remedy(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster, output={"uri": "file:///srv/models"})
    state(cluster, "Refused")
    remedy = (
        "spec.output.uri: file:// names a folder of one machine, which pods of a cluster do not share; write pvc://"
    )
    accepted = cluster.condition("trainingjobs", "digits", "Accepted")
    assert (accepted["status"], accepted["message"], cluster.children()) == ("False", remedy, {})
    until(lambda: cluster.history("TrainingJob", "digits") == [("Warning", "InvalidSpec", remedy)], "its Event")


def test_metrics_tell_of_objects_visits_requests_and_watches(cluster: Cluster, operator: Operator) -> None:
    training(cluster)
    state(cluster, "Waiting")
    waiting = 'modelyard_objects{kind="TrainingJob",state="Waiting"}'
    until(lambda: operator.metrics().get('modelyard_events_total{result="written"}') == 1, "the Event is counted")
    found = operator.metrics()
    assert (found[waiting], found["modelyard_leader"]) == (1, 1)
    assert found['modelyard_workqueue_depth{kind="TrainingJob"}'] == 0
    assert found['modelyard_reconcile_seconds_count{kind="TrainingJob"}'] > 0
    assert found['modelyard_client_requests_total{code="201",method="POST"}'] == 1
    assert found['modelyard_watch_last_event_timestamp_seconds{kind="TrainingJob"}'] > 1e9
    assert found["process_resident_memory_bytes"] > 0
    watched = sum(resource.selector is not None for resource in resource_types(KINDS).values())
    until(lambda: operator.metrics()["modelyard_watches"] == watched, "all watches are seen")
