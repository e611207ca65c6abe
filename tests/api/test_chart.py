"""The Helm chart: what it renders for which values, that the API server takes it all, and which values it refuses."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from charts import CHART, Helm, pick
from crds import CRDS
from operators import Object

KEEP = {"helm.sh/resource-policy": "keep"}
DIGEST = f"sha256:{64 * '0'}"
VALUES = {
    "as it comes": [],
    "one replica, some namespaces, no policy": [
        "replicas=1", 'watch.namespaces=["NAMESPACE"]', "networkPolicy.enabled=false"
    ],
    "all that can be set of the pods": [
        'imagePullSecrets=[{"name": "registry"}]',
        'priorityClassName="system-cluster-critical"',
        'nodeSelector={"disk": "ssd"}',
        'tolerations=[{"key": "gpu", "operator": "Exists"}]',
        'affinity={"nodeAffinity": {}}',
        'resources={"limits": {"cpu": 1, "memory": "1Gi"}}',
        f'images.operator.digest="{DIGEST}"',
        "networkPolicy.apiServerPorts=[16443]",
    ],
}  # fmt: skip
REFUSED = {
    "a typo at the top": ("replica=1", "additional properties 'replica' not allowed"),
    "a typo below": ('watch.namespace=["a"]', "at '/watch': additional properties 'namespace' not allowed"),
    "a typo in an image": ('images.trainer.repo="a"', "at '/images/trainer': additional properties 'repo' not allowed"),
    "no replica": ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
    "one string of namespaces": ('watch.namespaces="a"', "at '/watch/namespaces': got string, want array"),
    "a digest without its algorithm": (f'images.server.digest="{64 * "0"}"', "at '/images/server/digest'"),
}


@pytest.fixture
def strict(client: httpx.Client, namespace: str, crds: list[Object]) -> str:
    """A namespace that takes only pods that pass Pod Security "restricted"."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    client.patch(f"/api/v1/namespaces/{namespace}", json=label, headers=headers).raise_for_status()
    return namespace


def dry_run(client: httpx.Client, body: Object, namespace: str) -> httpx.Response:
    """What the API server says to the object, which it does not keep. A name that nobody knows is refused."""
    version = body["apiVersion"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    known = client.get(group).raise_for_status().json()["resources"]
    [found] = [each for each in known if each["kind"] == body["kind"] and "/" not in each["name"]]
    where = f"/namespaces/{body['metadata'].get('namespace', namespace)}" if found["namespaced"] else ""
    return client.patch(
        f"{group}{where}/{found['name']}/{body['metadata']['name']}",
        params={"fieldManager": "chart", "force": "true", "dryRun": "All", "fieldValidation": "Strict"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=yaml.safe_dump(body),
    )


def pod_of(deployment: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": deployment["spec"]["template"]["spec"],
    }


def test_helm_finds_no_fault(helm: Helm) -> None:
    helm.run("lint", "--strict", str(CHART))


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_api_server_takes_every_object(values: list[str], helm: Helm, client: httpx.Client, strict: str) -> None:
    objects = helm.template(strict, *(value.replace("NAMESPACE", strict) for value in values))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {}}
    for pod in pick(objects, "Pod"):
        name = pod["spec"]["serviceAccountName"]
        client.post(f"/api/v1/namespaces/{strict}/serviceaccounts", json={**account, "metadata": {"name": name}})
    [deployment] = pick(objects, "Deployment")
    client.post(f"/api/v1/namespaces/{strict}/serviceaccounts", json={**account, "metadata": {"name": "modelyard"}})
    answers = [dry_run(client, body, strict) for body in (*objects, pod_of(deployment))]
    assert [answer.text for answer in answers if answer.is_error] == []
    assert [answer.headers["Warning"] for answer in answers if "Warning" in answer.headers] == []


@pytest.mark.parametrize(("value", "complaint"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value_is_named(value: str, complaint: str, helm: Helm) -> None:
    answer = helm.attempt("template", "modelyard", str(CHART), "--set-json", value)
    assert (answer.returncode != 0, complaint in answer.stderr) == (True, True), answer.stderr


def test_it_can_be_part_of_another_chart(helm: Helm, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "charts/modelyard")
    chart = {"apiVersion": "v2", "name": "ours", "version": "1.0.0"}
    part = {"name": "modelyard", "version": "0.x.x", "condition": "modelyard.enabled"}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump({**chart, "dependencies": [part]}))
    (tmp_path / "values.yaml").write_text("global: {region: eu}\nmodelyard: {enabled: true, replicas: 3}\n")
    [deployment] = pick(helm.template("a", chart=tmp_path), "Deployment")
    assert deployment["spec"]["replicas"] == 3


def test_its_crds_are_those_of_the_repository_and_stay(helm: Helm) -> None:
    expected = [yaml.safe_load(path.read_text()) for path in CRDS]
    plain = helm.template("a", "crds.keep=false")
    assert pick(plain, "CustomResourceDefinition") == expected
    kept = pick(helm.template("a"), "CustomResourceDefinition")
    assert kept == [{**each, "metadata": {**each["metadata"], "annotations": KEEP}} for each in expected]
    assert pick(helm.template("a", "crds.install=false"), "CustomResourceDefinition") == []


def test_all_namespaces_are_one_cluster_role(helm: Helm) -> None:
    objects = helm.template("ops", hooks=False)
    assert [each["metadata"]["name"] for each in pick(objects, "ClusterRole")] == ["modelyard", "modelyard-ops-reviews"]
    assert [each["metadata"]["name"] for each in pick(objects, "Role")] == ["modelyard-lease"]
    assert "MODELYARD_NAMESPACES" not in environment(objects)


def test_some_namespaces_are_roles_and_no_right_beyond_but_to_review_tokens(helm: Helm) -> None:
    objects = helm.template("ops", 'watch.namespaces=["a", "b"]', hooks=False)
    assert [each["rules"] for each in pick(objects, "ClusterRole")] == [
        [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
    ]
    roles = [(each["metadata"]["name"], each["metadata"].get("namespace")) for each in pick(objects, "Role")]
    assert sorted(roles, key=str) == [("modelyard", "a"), ("modelyard", "b"), ("modelyard-lease", None)]
    bound = [(each["metadata"].get("namespace"), each["subjects"]) for each in pick(objects, "RoleBinding")]
    account = [{"kind": "ServiceAccount", "name": "modelyard", "namespace": "ops"}]
    assert sorted(bound, key=str) == [("a", account), ("b", account), (None, account)]
    assert environment(objects)["MODELYARD_NAMESPACES"]["value"] == "a,b"


def test_images_are_the_chart_s_version_or_what_is_set(helm: Helm) -> None:
    objects = helm.template(
        "ops",
        'images.registry="here:5000"',
        'images.trainer.tag="2"',
        f'images.server={{"repository": "r/s", "digest": "{DIGEST}"}}',
    )
    variables = environment(objects)
    images = {name: variables[f"MODELYARD_{name}_IMAGE"]["value"] for name in ("TRAINER", "COMPRESSOR", "SERVER")}
    assert images == {
        "TRAINER": "here:5000/modelyard-trainer:2",
        "COMPRESSOR": "here:5000/modelyard-compressor:0.1.0",
        "SERVER": f"here:5000/r/s@{DIGEST}",
    }


def test_a_disruption_leaves_one_pod_where_there_are_two(helm: Helm) -> None:
    [budget] = pick(helm.template("ops"), "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert pick(helm.template("ops", "replicas=1"), "PodDisruptionBudget") == []


def test_prometheus_is_told_where_the_metrics_are(helm: Helm) -> None:
    objects = helm.template("ops", "serviceMonitor.enabled=true", 'serviceMonitor.labels={"release": "p"}')
    [monitor] = pick(objects, "ServiceMonitor")
    [service] = [each for each in pick(objects, "Service") if each["metadata"]["name"].endswith("-metrics")]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert (monitor["metadata"]["labels"]["release"], monitor["spec"]["endpoints"]) == (
        "p",
        [{"port": service["spec"]["ports"][0]["name"], "interval": "30s"}],
    )
    assert pick(helm.template("ops"), "ServiceMonitor") == []


def environment(objects: list[Object]) -> dict[str, Any]:
    [deployment] = pick(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each for each in container["env"]}


def test_helm_test_trains_where_the_operator_looks(helm: Helm) -> None:
    where = {
        watched: {
            each["kind"]: each["metadata"].get("namespace")
            for each in helm.template("ops", f"watch.namespaces={watched}")
        }
        for watched in ("[]", '["a"]', '["a", "ops"]')
    }
    assert {watched: (kinds["TrainingJob"], kinds["Pod"]) for watched, kinds in where.items()} == {
        "[]": ("ops", None),
        '["a"]': ("a", None),
        '["a", "ops"]': ("ops", None),
    }
