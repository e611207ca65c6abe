"""The chart on a cluster of its own: what comes, changes and stays; what its rights are used for."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from charts import CHART, Helm
from control_plane import AUDIT_POLICY, ControlPlane
from operators import Cluster, Object, fresh_namespace, others, settled, sources, surplus, training, two_pods
from releases import RIGHTS, SYSTEM, Release, granted, used
from waiting import until

ROLES = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def host(kubebox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server without our CRDs, which writes down who asks for what."""
    folder = tmp_path_factory.mktemp("chart")
    control_plane = ControlPlane(folder / "state", kubebox, dies_with_parent=True)
    flags = {"audit-policy-file": str(AUDIT_POLICY), "audit-log-path": str(folder / "audit.log")}
    try:
        control_plane.up(api_server_flags=flags)
        yield control_plane
    finally:
        control_plane.down()


@pytest.fixture(scope="module")
def audit_log(host: ControlPlane) -> Path:
    return host.folder.parent / "audit.log"


@pytest.fixture(scope="module")
def admin(host: ControlPlane) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, verify=host.tls(), timeout=30) as client:
        yield client


@pytest.fixture
def release(helm: Helm, host: ControlPlane, admin: httpx.Client, tmp_path: Path) -> Release:
    return Release(helm, host, admin, tmp_path)


@pytest.fixture
def place(admin: httpx.Client) -> Iterator[Cluster]:
    """A fresh namespace of a user."""
    with fresh_namespace(admin, "user") as namespace:
        yield Cluster(admin, namespace)


def crds(client: httpx.Client) -> dict[str, Object]:
    answer = client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").raise_for_status()
    return {each["spec"]["names"]["kind"]: each for each in answer.json()["items"]}


def seen_generations(place: Cluster) -> set[int]:
    plurals = ("trainingjobs", "compressionjobs", "modelservices")
    return {place.status(plural, "digits")["observedGeneration"] for plural in plurals}


def test_the_operator_does_its_work_with_its_rights_and_uses_them_all(
    release: Release, place: Cluster, admin: httpx.Client, audit_log: Path
) -> None:
    assert "helm test" in release.install()
    operator = release.operator()
    try:
        sources(place)
        training(place)
        others(place)
        two_pods(place, "digits-train-1")
        until(lambda: any(name.startswith("horizontalpod") for name in place.children()), "the service's autoscaler")
        surplus(place)
        until(lambda: not any("surplus" in name for name in place.children()), "what nobody wants is gone")
        until(lambda: seen_generations(place) == {1}, "a status of each")
    finally:
        assert operator.stop() == 0, operator.log()
    done, refused = used(audit_log)
    assert refused == set()
    assert done == granted(admin, *RIGHTS)


def test_with_some_namespaces_it_works_there_and_may_do_nothing_elsewhere(
    release: Release, place: Cluster, admin: httpx.Client, audit_log: Path
) -> None:
    before = len(audit_log.read_text().splitlines())
    release.install(f'watch.namespaces=["{place.namespace}"]')
    assert admin.get(f"{ROLES}/clusterroles/modelyard").status_code == httpx.codes.NOT_FOUND
    operator = release.operator()
    try:
        sources(place)
        training(place)
        two_pods(place, "digits-train-1")
        until(lambda: place.status("trainingjobs", "digits").get("state") == "Starting", "a status")
    finally:
        assert operator.stop() == 0, operator.log()
    assert used(audit_log, before)[1] == set()


def test_uninstalled_and_installed_again_it_changes_nothing(
    release: Release, place: Cluster, admin: httpx.Client
) -> None:
    release.install()
    operator = release.operator()
    try:
        sources(place)
        training(place)
        two_pods(place, "digits-train-1")
        until(lambda: place.status("trainingjobs", "digits").get("state") == "Starting", "a status")

        def seen() -> tuple[object, object, list[str]]:
            job = place.get("trainingjobs", "digits")
            pods = [pod["metadata"]["uid"] for pod in two_pods(place, "digits-train-1")]
            return job and job["metadata"]["resourceVersion"], place.children(), pods

        before = settled(seen)
        operator.stop()
        release.uninstall()
        assert admin.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments").json()["items"] == []
        assert set(crds(admin)) == {"TrainingJob", "CompressionJob", "ModelService"}
        assert seen() == before
        release.install()
        operator = release.operator()
        until(lambda: operator.log().count("all objects are visited") == 2, "it works again")
        assert settled(seen) == before
    finally:
        operator.stop()


def test_an_upgrade_brings_the_crds_of_its_version(release: Release, admin: httpx.Client) -> None:
    release.install()
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.modelyard.dev"
    older = [{"op": "remove", "path": "/spec/names/shortNames"}]
    headers = {"Content-Type": "application/json-patch+json"}
    admin.patch(path, json=older, headers=headers, params={"fieldManager": "helm"}).raise_for_status()
    release.install("replicas=3")
    assert crds(admin)["TrainingJob"]["spec"]["names"]["shortNames"] == ["tjob"]
    assert release.deployment()["spec"]["replicas"] == 3


def test_helm_test_trains_and_cleans_up(release: Release, admin: httpx.Client) -> None:
    release.install()
    system = Cluster(admin, SYSTEM)
    operator = release.operator()
    command = [str(release.helm.program), "test", "modelyard", "--namespace", SYSTEM, "--timeout", "2m"]
    testing = subprocess.Popen(command, env=release.helm.environment, stdout=subprocess.PIPE, text=True)
    try:
        [pod] = until(lambda: system.pods("test-modelyard-train-1"), "the pod of the training")
        test_pod = until(lambda: system.get("pods", "test-modelyard"), "the pod of the test")
        [container] = test_pod["spec"]["containers"]
        script = CHART / "files" / Path(container["command"][1]).name
        arguments: list[str] = container["command"][2:]
        waiting = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**release.helm.environment, "KUBECONFIG": str(release.kubeconfig("test-modelyard"))},
            stdout=subprocess.PIPE,
            text=True,
        )
        system.end(pod, "Succeeded", {"outcome": "Succeeded", "reason": "Completed", "message": ""})
        said, _ = waiting.communicate(timeout=60)
        assert (waiting.returncode, said.splitlines()[-1]) == (0, "Complete: no output was asked for")
        system.end(test_pod, "Succeeded")
        said, _ = testing.communicate(timeout=60)
        assert (testing.returncode, "Phase:          Succeeded" in said) == (0, True), said
        assert system.get("trainingjobs", "test-modelyard") is None
    finally:
        testing.kill()
        operator.stop()


def test_the_script_of_helm_test_says_why_a_training_failed(release: Release, place: Cluster) -> None:
    release.install()
    operator = release.operator()
    try:
        sources(place)
        training(place, nodes=1, restart={"maxRestarts": 0})
        [pod] = until(lambda: place.pods("digits-train-1"), "its pod")
        failed = {"outcome": "Failed", "reason": "ProcessError", "message": "rank 0: ValueError: x", "rank": 0}
        place.end(pod, "Failed", failed)
        done = subprocess.run(
            [sys.executable, str(CHART / "files/wait.py"), place.namespace, "digits"],
            env=release.helm.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, "rank 0: ValueError: x" in done.stdout) == (1, True), done.stdout + done.stderr
    finally:
        operator.stop()
