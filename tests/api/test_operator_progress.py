"""Reports over Kubeflow Trainer's protocol, with tokens that a real API server made and reviews."""

import base64
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane import ControlPlane
from operators import Cluster, Object, Operator, others, running, sources, training
from waiting import until

AUDIENCE = "modelyard.dev/progress"
SERVER = "modelyard.dev/kind=ModelService"
TRAINER_STATUS = {
    "progressPercentage": 45,
    "estimatedRemainingSeconds": 795,
    "metrics": [{"name": "loss", "value": "0.2347"}, {"name": "grad", "value": "0.9"}],
    "lastUpdatedTime": "2026-05-01T12:00:00Z",
}


class Reporter:
    """What a pod of the job says to the operator."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self._cluster = cluster
        self._port = port

    def token(self, pod: Object, audience: str = AUDIENCE) -> str:
        """A token bound to the pod, as the kubelet puts it into a projected volume."""
        about = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": about["name"], "uid": about["uid"]}
        spec = {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound}
        path = f"/api/v1/namespaces/{self._cluster.namespace}/serviceaccounts/default/token"
        made = self._cluster.client.post(path, json={"spec": spec}).raise_for_status().json()
        token: str = made["status"]["token"]
        return token

    def post(self, token: str, body: Any, job: str = "digits") -> httpx.Response:
        return self._post("trainer.kubeflow.org", f"trainjobs/{job}/status", token, body)

    def post_own(self, token: str, body: Any, place: str) -> httpx.Response:
        return self._post("modelyard.dev", f"{place}/progress", token, body)

    def _post(self, group: str, place: str, token: str, body: Any) -> httpx.Response:
        url = f"https://localhost:{self._port}/apis/{group}/v1alpha1/namespaces/{self._cluster.namespace}/{place}"
        secret = self._cluster.client.get(
            f"/api/v1/namespaces/{self._cluster.namespace}/secrets/modelyard-progress"
        ).raise_for_status()
        trusted = ssl.create_default_context(cadata=base64.b64decode(secret.json()["data"]["tls.crt"]).decode())
        with httpx.Client(verify=trusted) as client:
            return client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def reporter(cluster: Cluster, api_server: ControlPlane, tmp_path: Path) -> Iterator[Reporter]:
    """A job of two pods that run, and an operator that takes their reports."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"MODELYARD_PROGRESS_PORT": str(port), "MODELYARD_PROGRESS_URL": f"https://localhost:{port}"}
    operator = Operator(api_server.kubeconfig, cluster.namespace, tmp_path, "a", environment)
    with running(operator):
        sources(cluster)
        training(cluster)
        until(lambda: len(cluster.pods("digits-train-1")) == 2, "two pods", seconds=90)
        for pod in cluster.pods("digits-train-1"):
            cluster.run(pod)
        until(lambda: cluster.condition("trainingjobs", "digits", "Running").get("status") == "True", "all pods run")
        yield Reporter(cluster, port)


def test_a_report_of_kubeflow_trainers_protocol_is_in_the_status(cluster: Cluster, reporter: Reporter) -> None:
    pod = cluster.pods("digits-train-1")[0]
    answer = reporter.post(reporter.token(pod), {"trainerStatus": TRAINER_STATUS})
    assert (answer.status_code, answer.json()["trainerStatus"]["progressPercentage"]) == (200, 45)
    until(lambda: "progress" in cluster.status("trainingjobs", "digits"), "progress")
    progress = cluster.status("trainingjobs", "digits")["progress"]
    assert (progress["percent"], progress["etaSeconds"]) == (45, 795)
    assert progress["metrics"] == [{"name": "grad", "value": "0.9"}, {"name": "loss", "value": "0.2347"}]


def test_our_own_reports_are_written_at_most_every_ten_seconds(cluster: Cluster, reporter: Reporter) -> None:
    token = reporter.token(cluster.pods("digits-train-1")[0])

    def report(step: int) -> None:
        own = {"stage": "Training", "step": step, "totalSteps": 100, "resumedStep": 0, "time": "2026-05-01T12:00:00Z"}
        body = {"trainerStatus": {"progressPercentage": step}, "modelyard": own}
        assert reporter.post(token, body).status_code == 200

    report(1)
    until(lambda: cluster.status("trainingjobs", "digits").get("progress", {}).get("step") == 1, "step 1")
    found = cluster.get("trainingjobs", "digits")
    for step in range(2, 12):
        report(step)
    assert cluster.get("trainingjobs", "digits") == found


def test_a_report_counts_only_from_a_pod_of_the_current_attempt(cluster: Cluster, reporter: Reporter) -> None:
    body = {"trainerStatus": TRAINER_STATUS}
    pod = cluster.pods("digits-train-1")[0]
    stranger = cluster.create(
        "pods", {"metadata": {"name": "stranger"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    )
    token = reporter.token(pod)
    assert [
        reporter.post("nonsense", body).status_code,
        reporter.post(reporter.token(pod, "https://kubernetes.default.svc"), body).status_code,
        reporter.post(reporter.token(stranger), body).status_code,
        reporter.post(token, body, job="other").status_code,
        reporter.post(token, {"trainerStatus": {"progressPercentage": 101}}).status_code,
        reporter.post(token, {"trainerStatus": {}, "more": "x" * 70_000}).status_code,
    ] == [401, 401, 403, 403, 422, 413]
    refusal = reporter.post(token, {"trainerStatus": {"progressPercentage": 101}}).json()
    assert (refusal["kind"], refusal["reason"]) == ("Status", "Invalid")
    for each in cluster.pods("digits-train-1"):
        cluster.end(each, "Failed", {"outcome": "Failed", "reason": "ProcessError", "message": "x"})
    until(lambda: cluster.pods("digits-train-2") != [], "attempt 2", seconds=60)
    assert reporter.post(token, body).status_code == 403


def test_pods_of_other_kinds_report_in_our_own_words(cluster: Cluster, reporter: Reporter) -> None:
    others(cluster)
    until(lambda: cluster.labelled(SERVER) != [], "a pod of the service")
    [pod] = cluster.labelled(SERVER)
    names = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert names["MODELYARD_PROGRESS_URL"].endswith(f"/{cluster.namespace}/modelservices/digits/progress")
    token = reporter.token(pod)
    serving = {
        "provider": "Cpu", "mode": "Inline", "instances": 1, "threads": 1, "maxBatch": 8,
        "runMicroseconds": 9, "rowsPerSecond": 400000,
    }  # fmt: skip
    body = {"modelyard": {"stage": "Serving", "serving": serving, "time": "2026-05-01T12:00:00Z"}}
    cluster.run(pod)
    assert [
        reporter.post_own(token, body, "compressionjobs/digits").status_code,
        reporter.post_own(token, body, "nonsense/digits").status_code,
        reporter.post_own(token, {"trainerStatus": TRAINER_STATUS}, "modelservices/digits").status_code,
        reporter.post(token, {"trainerStatus": TRAINER_STATUS}).status_code,
        reporter.post_own(token, body, "modelservices/digits").status_code,
    ] == [403, 403, 422, 403, 200]
    until(lambda: cluster.status("modelservices", "digits").get("tuning") == serving, "the tuning")
