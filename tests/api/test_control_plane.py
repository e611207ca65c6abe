"""The API server under these tests: it comes back after a crash, and leaves nothing."""

from pathlib import Path

import httpx
import pytest

from control_plane import API_SERVER, CONTROLLERS, ETCD, SCHEDULER, ControlPlane
from lacking import LackingError
from waiting import until


def test_a_crash_loses_nothing(api_server: ControlPlane, client: httpx.Client, namespace: str) -> None:
    api_server.stop_api_server()
    assert not api_server.ready()
    api_server.start_api_server()
    assert client.get(f"/api/v1/namespaces/{namespace}").json()["metadata"]["name"] == namespace


def test_a_job_makes_a_pod(client: httpx.Client, namespace: str) -> None:
    container = {"name": "main", "image": "none"}
    pod = {"metadata": {"labels": {"of": "job"}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"metadata": {"name": "job"}, "spec": {"template": pod}}
    client.post(f"/apis/batch/v1/namespaces/{namespace}/jobs", json=job).raise_for_status()
    path = f"/api/v1/namespaces/{namespace}/pods"
    (made,) = until(lambda: client.get(path).raise_for_status().json()["items"], "a pod of the job")
    assert made["metadata"]["labels"]["of"] == "job"


def test_up_twice_is_one_cluster(api_server: ControlPlane, kubebox: Path) -> None:
    before = [api_server.processes.pid(name) for name in (ETCD, API_SERVER, CONTROLLERS)]
    again = ControlPlane(api_server.folder, kubebox)
    again.up()
    assert [again.processes.pid(name) for name in (ETCD, API_SERVER, CONTROLLERS)] == before


def test_down_leaves_no_process_and_no_folder(kubebox: Path, tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path / "state", kubebox, dies_with_parent=True)
    control_plane.up(scheduler=True)
    pids = [control_plane.processes.pid(name) for name in (ETCD, API_SERVER, CONTROLLERS, SCHEDULER)]
    control_plane.down()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(kubebox: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LackingError, match="something else than a cluster"):
        ControlPlane(tmp_path, kubebox).up()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
