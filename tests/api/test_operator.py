"""The operator on a real API server with its real controllers. There is no node: the tests say how pods end."""

import json
import signal

from operators import PUBLISHED, Cluster, Operator, settled, sources, training, two_pods
from waiting import until


def test_a_training_gets_its_children_and_an_honest_status(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    assert set(cluster.children()) == {
        "services/digits-train",
        "configmaps/digits-train-code",
        "configmaps/digits-train-1-run",
        "jobs/digits-train-1",
    }
    until(lambda: cluster.status("trainingjobs", "digits").get("attempt") == 1, "a status")
    found = cluster.get("trainingjobs", "digits")
    assert found is not None
    assert (found["status"]["observedGeneration"], found["status"]["state"]) == (1, "Starting")
    assert {"finalizers", "annotations"} & set(found["metadata"]) == set()


def test_a_missing_config_map_is_named_and_waited_for(cluster: Cluster, operator: Operator) -> None:
    training(cluster)
    until(lambda: cluster.condition("trainingjobs", "digits", "Accepted").get("status") == "False", "a refusal")
    accepted = cluster.condition("trainingjobs", "digits", "Accepted")
    assert accepted["reason"] == "ConfigMapNotFound"
    assert "spec.code.configMap: ConfigMap 'code' not found" in accepted["message"]
    assert cluster.children() == {}
    sources(cluster)
    two_pods(cluster, "digits-train-1")


def test_a_child_that_is_deleted_or_edited_is_put_back(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    service = cluster.get("services", "digits-train")
    assert service is not None
    cluster.delete("services", "digits-train")

    def again() -> bool:
        now = cluster.get("services", "digits-train")
        return now is not None and now["metadata"]["uid"] != service["metadata"]["uid"]

    until(again, "the Service is back")
    cluster.patch("configmaps", "digits-train-1-run", {"data": {"run.json": "{}"}})

    def mended() -> bool:
        config = cluster.get("configmaps", "digits-train-1-run")
        return config is not None and config["data"]["run.json"] != "{}"

    until(mended, "the edit is undone")


def test_a_chain_goes_from_digest_to_digest(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    compression = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "CompressionJob",
        "metadata": {"name": "digits-int8"},
        "spec": {"source": {"trainingJob": {"name": "digits"}}, "output": {"uri": "pvc://models/int8"}},
    }
    service = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "digits"},
        "spec": {"model": {"compressionJob": {"name": "digits-int8"}}},
    }
    cluster.create("compressionjobs", compression)
    cluster.create("modelservices", service)
    first, second = two_pods(cluster, "digits-train-1")
    cluster.end(
        first, "Succeeded", {"outcome": "Succeeded", "reason": "Completed", "message": "", "artifact": PUBLISHED}
    )
    cluster.end(second, "Succeeded")
    until(lambda: cluster.condition("trainingjobs", "digits", "Complete").get("status") == "True", "training complete")
    until(lambda: len(cluster.pods("digits-int8-compress")) == 1, "the compressor's pod")
    until(lambda: "source" in cluster.status("compressionjobs", "digits-int8"), "a status of the compression")
    assert cluster.status("compressionjobs", "digits-int8")["source"]["digest"] == PUBLISHED["digest"]
    [pod] = cluster.pods("digits-int8-compress")
    compressed = {**PUBLISHED, "digest": f"sha256:{64 * '2'}"}
    cluster.end(
        pod, "Succeeded", {"outcome": "Succeeded", "reason": "Completed", "message": "", "artifact": compressed}
    )
    until(lambda: cluster.status("modelservices", "digits").get("candidate") is not None, "a candidate")
    assert cluster.status("modelservices", "digits")["model"]["digest"] == compressed["digest"]
    assert any(name.startswith("deployments/digits-serve-") for name in cluster.children())
    assert cluster.condition("modelservices", "digits", "Ready")["status"] == "False"


def test_a_lost_pod_is_a_new_attempt(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster, restart={"backoffSeconds": 0})
    first, _ = two_pods(cluster, "digits-train-1")
    failed = {"outcome": "Failed", "reason": "ProcessError", "message": "rank 0: ValueError: x", "rank": 0}
    cluster.end(first, "Failed", failed)
    until(lambda: len(cluster.pods("digits-train-2")) == 2, "the pods of the next attempt")
    restarts = cluster.status("trainingjobs", "digits")["restarts"]
    assert (restarts["counted"], restarts["last"]["reason"], restarts["last"]["rank"]) == (1, "ProcessError", 0)


def test_a_killed_operator_catches_up_and_changes_nothing_that_is_right(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    until(lambda: cluster.status("trainingjobs", "digits").get("attempt") == 1, "a status")
    before = cluster.children()
    operator.stop(signal.SIGKILL)
    cluster.delete("services", "digits-train")
    operator.start()
    until(lambda: cluster.get("services", "digits-train") is not None, "the Service is back")
    after = cluster.children()
    del before["services/digits-train"], after["services/digits-train"]
    assert after == before


def test_a_deleted_object_takes_its_children_also_without_an_operator(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    operator.stop()
    cluster.delete("trainingjobs", "digits")
    until(lambda: cluster.children() == {}, "the garbage collector has been here")
    assert cluster.get("trainingjobs", "digits") is None


def test_a_malformed_object_stops_nothing_else(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster, name="odd")
    two_pods(cluster, "odd-train-1")
    last = {"attempt": 1, "reason": "ProcessError", "failedAt": "yesterday"}
    cluster.patch("trainingjobs", "odd/status", {"status": {"attempt": 1, "restarts": {"counted": 1, "last": last}}})
    until(
        lambda: "TrainingJob" in operator.log() and "failed, again in" in operator.log(), "the odd one is tried again"
    )
    training(cluster)
    two_pods(cluster, "digits-train-1")
    until(lambda: cluster.status("trainingjobs", "digits").get("state") == "Starting", "a status")


def test_a_huge_object_of_odd_characters_stops_nothing_else(cluster: Cluster, operator: Operator) -> None:
    odd = "\x85\u202e\u0000a\u0301\U0001f4a9\ufeff{{}}$(X)'\"".replace("\u0000", "")
    sources(cluster)
    body = training(cluster, name="huge", entrypoint={"script": "train.py", "args": [odd * 20] * 50})
    cluster.patch("trainingjobs", "huge", {"metadata": {"annotations": {"example.com/odd": odd * 10_000}}})
    assert body["spec"]["entrypoint"]["args"][0] == odd * 20
    training(cluster)
    two_pods(cluster, "digits-train-1")
    two_pods(cluster, "huge-train-1")
    run = cluster.get("configmaps", "huge-train-1-run")
    assert run is not None
    assert json.loads(run["data"]["run.json"])["args"] == [odd * 20] * 50


def test_nothing_is_said_and_nothing_written_when_nothing_changes(cluster: Cluster, operator: Operator) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    until(lambda: cluster.status("trainingjobs", "digits").get("state") == "Starting", "a status")

    def all_there_is() -> tuple[str, dict[str, str], object]:
        return operator.log(), cluster.children(), cluster.get("trainingjobs", "digits")

    before = settled(all_there_is)
    # A change that is none of ours makes the operator look.
    cluster.patch("services", "digits-train", {"metadata": {"labels": {"seen": "1"}}})
    after = settled(all_there_is)
    changed = "services/digits-train"
    assert {name for name in after[1] if after[1][name] != before[1][name]} == {changed}
    assert (after[0], after[2]) == (before[0], before[2])
