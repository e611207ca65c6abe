"""A pod's folder."""

from pathlib import Path

import pytest

from modelyard.api.metadata import JsonObject, ObjectKey, ObjectMeta
from modelyard.api.pods import Container, Pod, PodSpec
from modelyard.api.volumes import ClaimSource, ConfigMapSource, EmptyDirSource, SecretSource, Volume, VolumeMount
from modelyard.clusters.process.sandbox import NotMountable, Sandbox
from modelyard.clusters.process.store import ObjectStore

VOLUMES = {
    "code": Volume(name="code", config_map=ConfigMapSource(name="x")),
    "key": Volume(name="key", secret=SecretSource(secret_name="x")),
    "volumes/models": Volume(name="models", persistent_volume_claim=ClaimSource(claim_name="x")),
    "work": Volume(name="work", empty_dir=EmptyDirSource()),
}


def pod(*folders: str) -> Pod:
    """A pod that mounts these folders of the root."""
    mounts = [VolumeMount(name=VOLUMES[folder].name, mount_path=f"/modelyard/{folder}") for folder in folders]
    container = Container(name="c", image="i", volume_mounts=mounts)
    return Pod(
        metadata=ObjectMeta(name="p"),
        spec=PodSpec(containers=[container], volumes=[VOLUMES[folder] for folder in folders]),
    )


def put(store: ObjectStore, kind: str, **content: JsonObject) -> None:
    body: JsonObject = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **content}
    store.put(ObjectKey(kind, "default", "x"), body)


def test_config_maps_and_secrets_are_files_and_claims_are_links(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "objects")
    put(store, "ConfigMap", data={"train.py": "pass"})
    put(store, "Secret", data={"token": "czNjcmV0"}, stringData={"user": "me"})
    put(store, "PersistentVolumeClaim")
    mounted = pod(*VOLUMES)
    sandbox = Sandbox(tmp_path, mounted)
    sandbox.build(mounted, store)
    files = {
        str(path.relative_to(sandbox.root)): path.read_bytes() for path in sandbox.root.rglob("*") if path.is_file()
    }
    assert files == {"code/train.py": b"pass", "key/token": b"s3cret", "key/user": b"me"}
    assert (sandbox.root / "volumes/models").resolve() == (tmp_path / "volumes/x").resolve()
    assert (sandbox.root / "key").stat().st_mode & 0o077 == 0
    sandbox.remove()
    assert ((tmp_path / "volumes/x").is_dir(), sandbox.folder.exists(), sandbox.temporary.exists()) == (
        True,
        False,
        False,
    )


def test_a_secret_that_may_be_missing_is_an_empty_folder(tmp_path: Path) -> None:
    volume = Volume(name="key", secret=SecretSource(secret_name="x", optional=True))
    mounted = pod("key")
    mounted = mounted.model_copy(update={"spec": mounted.spec.model_copy(update={"volumes": [volume]})})
    sandbox = Sandbox(tmp_path, mounted)
    sandbox.build(mounted, ObjectStore(tmp_path / "objects"))
    assert list((sandbox.root / "key").iterdir()) == []
    sandbox.remove()


@pytest.mark.parametrize(
    ("folder", "kind"), [("code", "ConfigMap"), ("key", "Secret"), ("volumes/models", "PersistentVolumeClaim")]
)
def test_a_pod_waits_for_what_it_mounts(tmp_path: Path, folder: str, kind: str) -> None:
    waiting = pod(folder)
    sandbox = Sandbox(tmp_path, waiting)
    with pytest.raises(NotMountable, match=f"{kind} 'x' not found"):
        sandbox.build(waiting, ObjectStore(tmp_path / "objects"))
    sandbox.remove()
