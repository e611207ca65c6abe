"""Autoscaling on a real API server with its real autoscaler, Deployment controller and field managers; no node runs."""

from http import HTTPStatus
from typing import Any

import pytest

from operators import MERGE, Cluster, Object, Operator, settled
from waiting import until

DIGESTS = [f"sha256:{64 * digit}" for digit in "12"]
AUTOSCALING = {"minReplicas": 2, "maxReplicas": 6, "metrics": [{"type": "Cpu", "target": 70}]}


def artifact(digest: str) -> Object:
    return {"artifact": {"uri": f"pvc://models/{digest[7:19]}", "digest": digest}}


def serve(cluster: Cluster, **spec: Any) -> str:
    """A service; returns the name of its revision's children."""
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "digits"},
        "spec": {"model": artifact(DIGESTS[0]), "resources": {"limits": {"cpu": "1"}}, **spec},
    }
    cluster.create("modelservices", body)
    until(lambda: deployments(cluster), "a Deployment")
    (name,) = deployments(cluster)
    return name


def deployments(cluster: Cluster) -> list[str]:
    return [name.partition("/")[2] for name in cluster.children() if name.startswith("deployments/")]


def change(cluster: Cluster, **spec: Any) -> None:
    cluster.patch("modelservices", "digits", {"spec": spec})


def replicas(cluster: Cluster, name: str) -> int | None:
    found = cluster.get("deployments", name)
    return None if found is None else found["spec"]["replicas"]


def bounds(cluster: Cluster, name: str) -> tuple[int, int] | None:
    """The least and the most pods that the revision's autoscaler may choose."""
    found = cluster.get("horizontalpodautoscalers", name)
    return None if found is None else (found["spec"]["minReplicas"], found["spec"]["maxReplicas"])


def scale(cluster: Cluster, name: str, number: int) -> None:
    """As an autoscaler does it: through the scale subresource."""
    cluster.patch("deployments", f"{name}/scale", {"spec": {"replicas": number}})


def history(cluster: Cluster, name: str) -> list[int]:
    """To how many pods the Deployment was ever scaled, as its controller's ReplicaSet events tell."""
    events = cluster.client.get(f"/api/v1/namespaces/{cluster.namespace}/events").raise_for_status().json()["items"]
    mine = [each for each in events if each["involvedObject"]["name"] == name and "replica set" in each["message"]]
    mine.sort(key=lambda each: (each["metadata"]["creationTimestamp"], int(each["metadata"]["resourceVersion"])))
    return [int(each["message"].split(" to ")[1].split()[0]) for each in mine]


def pods_ready(cluster: Cluster, revision: str, number: int) -> None:
    """Say of the revision's pods what a kubelet would."""

    def pods() -> list[Object]:
        found: list[Object] = cluster.client.get(
            cluster.path("pods"), params={"labelSelector": f"modelyard.dev/revision={revision}"}
        ).json()["items"]
        return found

    until(lambda: len(pods()) == number, f"{number} pods of {revision}")
    for pod in pods():
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        cluster.patch("pods", f"{pod['metadata']['name']}/status", {"status": ready})


def stable(cluster: Cluster) -> str | None:
    found: Object = cluster.status("modelservices", "digits").get("stable") or {}
    return found.get("revision")


def revision_of(name: str) -> str:
    return name.removeprefix("digits-serve-")


def test_the_autoscaler_sets_the_pods_and_the_operator_does_not(cluster: Cluster, operator: Operator) -> None:
    name = serve(cluster, autoscaling=AUTOSCALING)
    # No metrics are needed to reach the least number.
    until(lambda: replicas(cluster, name) == 2, "the autoscaler scales to its least", seconds=30)
    found = cluster.get("horizontalpodautoscalers", name)
    assert found is not None
    assert found["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    utilisation = {"type": "Utilization", "averageUtilization": 70}
    assert found["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": utilisation}}]
    scale(cluster, name, 5)
    cluster.patch("deployments", name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "someone"}}})
    until(
        lambda: (
            (cluster.get("deployments", name) or {})["metadata"]["labels"]["app.kubernetes.io/managed-by"]
            == "modelyard"
        ),
        "the operator puts the rest back",
    )
    assert settled(lambda: replicas(cluster, name)) == 5


def test_an_edited_autoscaler_is_put_back_and_a_deleted_one_comes_again(cluster: Cluster, operator: Operator) -> None:
    name = serve(cluster, autoscaling={**AUTOSCALING, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 9}}})
    until(lambda: bounds(cluster, name) == (2, 6), "an autoscaler")
    cluster.patch("horizontalpodautoscalers", name, {"spec": {"maxReplicas": 100, "behavior": None}})
    until(lambda: bounds(cluster, name) == (2, 6), "its bounds put back")
    found = cluster.get("horizontalpodautoscalers", name)
    assert found is not None
    assert found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 9
    cluster.delete("horizontalpodautoscalers", name)
    until(lambda: bounds(cluster, name) == (2, 6), "it is back")
    before = settled(lambda: cluster.children()[f"deployments/{name}"], seconds=6)
    assert settled(lambda: cluster.children()[f"deployments/{name}"], seconds=3) == before


def test_a_missing_metrics_server_is_told_with_the_remedy(cluster: Cluster, operator: Operator) -> None:
    name = serve(cluster, autoscaling=AUTOSCALING)
    until(lambda: replicas(cluster, name) == 2, "two pods", seconds=30)
    pods_ready(cluster, revision_of(name), 2)
    until(
        lambda: cluster.condition("modelservices", "digits", "ScalingActive").get("status") == "False",
        "the autoscaler finds no metrics",
        seconds=30,
    )
    said = cluster.condition("modelservices", "digits", "ScalingActive")
    assert said["reason"] == "FailedGetResourceMetric"
    assert said["message"].endswith("install the metrics server, or set replicas in place of autoscaling")
    status = cluster.status("modelservices", "digits")
    assert (status["state"], "; does not scale: " in status["message"]) == ("Ready", True)


def test_from_replicas_to_autoscaling_no_pod_goes(cluster: Cluster, operator: Operator) -> None:
    name = serve(cluster, replicas=4)
    until(lambda: replicas(cluster, name) == 4, "four pods")
    until(lambda: history(cluster, name) == [4], "its controller has made them")
    change(cluster, replicas=None, autoscaling=AUTOSCALING)
    until(lambda: bounds(cluster, name) == (2, 6), "an autoscaler")
    assert settled(lambda: replicas(cluster, name), seconds=8) == 4
    assert history(cluster, name) == [4]
    # The autoscaler's word counts from now on, and the operator's again after going back.
    scale(cluster, name, 3)
    assert settled(lambda: replicas(cluster, name)) == 3
    change(cluster, replicas=5, autoscaling=None)
    until(lambda: (replicas(cluster, name), bounds(cluster, name)) == (5, None), "five pods and no autoscaler")
    change(cluster, replicas=None, autoscaling=AUTOSCALING)
    until(lambda: bounds(cluster, name) == (2, 6), "an autoscaler again")
    assert settled(lambda: replicas(cluster, name)) == 5


def test_from_zero_replicas_to_autoscaling_pods_start(cluster: Cluster, operator: Operator) -> None:
    name = serve(cluster, replicas=0)
    until(lambda: replicas(cluster, name) == 0, "no pod")
    change(cluster, replicas=None, autoscaling=AUTOSCALING)
    until(lambda: replicas(cluster, name) == 2, "the autoscaler's least", seconds=30)


def test_a_new_revision_takes_over_with_as_many_pods_as_serve(cluster: Cluster, operator: Operator) -> None:
    first = serve(cluster, autoscaling=AUTOSCALING)
    until(lambda: replicas(cluster, first) == 2, "two pods", seconds=30)
    pods_ready(cluster, revision_of(first), 2)
    until(lambda: stable(cluster) == revision_of(first), "the first revision serves")
    scale(cluster, first, 4)
    change(cluster, model=artifact(DIGESTS[1]))
    until(lambda: len(deployments(cluster)) == 2, "a second Deployment")
    (second,) = set(deployments(cluster)) - {first}
    until(lambda: bounds(cluster, second) == (4, 6), "room for what serves")
    assert bounds(cluster, first) == (2, 6)
    until(lambda: replicas(cluster, second) == 4, "four pods of the second", seconds=30)
    pods_ready(cluster, revision_of(second), 4)
    until(lambda: deployments(cluster) == [second], "the second alone serves")
    assert stable(cluster) == revision_of(second)
    until(lambda: bounds(cluster, first) is None, "the first one's autoscaler goes too")
    # Its autoscaler has seen no load so far, and would else send three of the four away.
    assert settled(lambda: (bounds(cluster, second), replicas(cluster, second)), seconds=8) == ((4, 6), 4)


@pytest.mark.parametrize(
    ("spec", "answers"),
    [({"replicas": 2}, (HTTPStatus.OK, 3)), ({}, (HTTPStatus.OK, 3))],
    ids=["with replicas", "without"],
)
def test_a_service_is_scaled_by_its_scale_subresource(
    cluster: Cluster, spec: Object, answers: tuple[HTTPStatus, int]
) -> None:
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "digits"}}
    cluster.create("modelservices", {**body, "spec": {"model": artifact(DIGESTS[0]), **spec}})
    path = cluster.path("modelservices", "digits/scale")
    answer = cluster.client.patch(path, json={"spec": {"replicas": 3}}, headers=MERGE)
    found = cluster.get("modelservices", "digits")
    assert found is not None
    assert (answer.status_code, found["spec"]["replicas"]) == answers


def test_a_service_with_an_autoscaler_is_not_scaled_by_hand(cluster: Cluster) -> None:
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "digits"}}
    spec = {"model": artifact(DIGESTS[0]), "resources": {"limits": {"cpu": "1"}}, "autoscaling": AUTOSCALING}
    cluster.create("modelservices", {**body, "spec": spec})
    path = cluster.path("modelservices", "digits/scale")
    answer = cluster.client.patch(path, json={"spec": {"replicas": 3}}, headers=MERGE)
    assert (answer.status_code, "set replicas or autoscaling, not both" in answer.text) == (422, True), answer.text
