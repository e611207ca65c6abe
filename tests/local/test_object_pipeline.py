"""Train, compress and serve over a bucket, on a laptop whose Secret is in the file. The tests build on each other."""

from collections.abc import Iterator

import pytest

from laptops import Laptop, Object, example
from object_stores import BUCKET, ObjectServer, object_server

SECRET = "store"
KEYS = {"secretRef": {"name": SECRET}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def run(module_laptop: Laptop, server: ObjectServer) -> Laptop:
    """The digits example in a bucket, short and without gates, run to its end and left serving."""
    result = module_laptop("run", module_laptop.file(secret(server), *in_bucket()), "--keep")
    assert result.code == 0, result.out + result.err
    return module_laptop


def secret(server: ObjectServer, **changes: str) -> Object:
    """The Secret with the keys to the server."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": {**server.secret, **changes},
    }


def in_bucket() -> list[Object]:
    objects = {each["kind"]: each for each in example() if each["kind"] != "PersistentVolumeClaim"}
    training, compression = objects["TrainingJob"]["spec"], objects["CompressionJob"]["spec"]
    training |= {"nodes": 1, "procsPerNode": 1, "gates": [], "restart": {"maxRestarts": 0}}
    training["entrypoint"]["args"] = ["--epochs", "2"]
    compression["gates"] = {}
    for place in (training["checkpoint"], training["output"], compression["output"]):
        place |= {"uri": place["uri"].replace("pvc://models", f"s3://{BUCKET}"), **KEYS}
    return list(objects.values())


def test_every_artefact_lies_in_the_bucket_and_each_digest_names_the_one_before(
    run: Laptop, server: ObjectServer
) -> None:
    trained, compressed = run.status("tjob/digits")["artifact"], run.status("cjob/digits-int8")["artifact"]
    assert compressed["parentDigest"] == trained["digest"]
    assert run.status("msvc/digits")["stable"]["digest"] == compressed["digest"]
    for artifact in (trained, compressed):
        names = server.names(artifact["uri"].removeprefix(f"s3://{BUCKET}/"))
        assert {"manifest.json", "model.onnx"} <= set(names)
    report = run.status("cjob/digits-int8")["report"]["html"]
    assert b"<svg" in server.read(report.removeprefix(f"s3://{BUCKET}/"))


def test_the_secret_travels_by_name_with_the_artefact(run: Laptop) -> None:
    assert run.status("tjob/digits")["artifact"]["secretRef"] == {"name": SECRET}
    assert run.status("cjob/digits-int8")["source"]["secretRef"] == {"name": SECRET}
    assert run.status("msvc/digits")["model"]["secretRef"] == {"name": SECRET}


def test_no_key_is_in_an_object_or_a_log(run: Laptop, server: ObjectServer) -> None:
    secret_file = run.state / "objects/default/Secret/store.json"
    mounted = list(run.state.glob("pods/*/root/secrets/*/*"))
    key = server.secret["AWS_SECRET_ACCESS_KEY"].encode()
    files = [path for path in run.state.rglob("*") if path.is_file() and path not in (secret_file, *mounted)]
    assert key in secret_file.read_bytes()
    assert [path for path in files if key in path.read_bytes()] == []


def test_the_newest_checkpoints_lie_below_the_jobs_uid(run: Laptop, server: ObjectServer) -> None:
    job = run.get("tjob/digits")
    names = server.names(f"checkpoints/{job['metadata']['uid']}")
    steps = sorted({name.partition("/")[0] for name in names})
    assert steps[-1] == f"step-{job['status']['checkpoint']['step']:08d}"
    assert names == [f"{step}/{file}" for step in steps for file in ("commit.json", "state.pt")]


def test_the_service_answers_about_the_evaluation_set_in_the_bucket(run: Laptop) -> None:
    result = run("predict", "digits", "--samples", "64")
    assert result.code == 0, result.err


def test_a_changed_byte_in_the_bucket_is_named_and_not_served(run: Laptop, server: ObjectServer) -> None:
    model = run.status("msvc/digits")["model"]
    server.change_a_byte(f"{model['uri'].removeprefix(f's3://{BUCKET}/')}/model.onnx")
    run("stop")
    result = run("run", run.file(secret(server), *in_bucket()))
    assert result.code == 1
    verified = run.condition("msvc/digits", "ArtifactVerified")
    assert (verified["reason"], "model.onnx was changed" in verified["message"]) == ("DigestMismatch", True)


def test_a_missing_secret_and_a_wrong_key_are_told_by_the_job(laptop: Laptop, server: ObjectServer) -> None:
    objects = [each for each in in_bucket() if each["kind"] in ("TrainingJob", "ConfigMap")]
    assert laptop("run", laptop.file(*objects)).code == 1
    status = laptop.status("tjob/digits")
    assert (status["state"], laptop.condition("tjob/digits", "Failed")["reason"]) == ("Failed", "SecretMissing")
    assert "Secret 'store' is missing or holds no key" in status["message"]
    objects[0]["metadata"]["name"] = "again"
    wrong = secret(server, AWS_SECRET_ACCESS_KEY="wrong")
    assert laptop("run", laptop.file(wrong, *(each for each in objects))).code == 1
    failed = laptop.condition("tjob/again", "Failed")
    assert (failed["reason"], "correct the keys of Secret 'store'" in failed["message"]) == (
        "StorageAccessDenied",
        True,
    )
