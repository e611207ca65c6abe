import json

import pytest
from pydantic import ValidationError

from kind_stories import Story, claim, code
from modelyard.api.workloads import ConfigMap, Job, Service
from modelyard.contract.digest import digest_of_json
from modelyard.kinds.trainingjob import KIND
from modelyard.kinds.trainingjob.model import TrainingJob

TWO_BY_TWO = """
code: {configMap: {name: digits-code}}
entrypoint: {script: train.py, args: ["--epochs", "5"]}
nodes: 2
procsPerNode: 2
resources: {limits: {cpu: "4", memory: 2Gi}}
env: [{name: SEED, value: "1"}]
checkpoint: {uri: "pvc://ckpt/digits"}
output: {uri: "pvc://models/digits"}
"""


def started(spec: str = TWO_BY_TWO) -> Story[TrainingJob]:
    story = Story(KIND, spec, code(train_py="print(1)"), claim("ckpt"), claim("models"))
    story.visit()
    return story


def env(job: Job) -> dict[str, str | None]:
    return {variable.name: variable.value for variable in job.spec.template.spec.containers[0].env}


def test_a_job_of_two_pods_is_code_service_run_file_and_one_indexed_job() -> None:
    story = started()
    assert story.names() == [
        "ConfigMap digits-train-code",
        "Service digits-train",
        "ConfigMap digits-train-1-run",
        "Job digits-train-1",
    ]
    job = story.child(Job, "digits-train-1").spec
    assert (job.parallelism, job.completions, job.completion_mode, job.backoff_limit, job.pod_replacement_policy) == (
        2,
        2,
        "Indexed",
        0,
        "Failed",
    )


def test_the_rendezvous_is_c10d_at_pod_0_with_an_id_of_each_attempt() -> None:
    assert env(started().child(Job, "digits-train-1")) == {
        "PYTHONUNBUFFERED": "1",
        "PET_NODE_RANK": None,
        "PET_LOCAL_ADDR": "digits-train-1-$(PET_NODE_RANK).digits-train.default.svc",
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "2",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": "digits-train-1-0.digits-train.default.svc:29400",
        "PET_RDZV_ID": "uid-1-1",
        "PET_RDZV_CONF": "join_timeout=600",
        "OMP_NUM_THREADS": "2",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "SEED": "1",
    }


def test_a_pod_takes_its_rank_from_the_index_that_the_job_controller_gives_it() -> None:
    container = started().child(Job, "digits-train-1").spec.template.spec.containers[0]
    index = next(variable.value_from for variable in container.env if variable.name == "PET_NODE_RANK")
    assert index is not None
    assert index.field_ref.field_path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_the_service_names_every_pod_before_it_is_ready() -> None:
    story = started()
    service = story.child(Service, "digits-train").spec
    pods = story.child(Job, "digits-train-1").spec.template
    assert (service.cluster_ip, service.publish_not_ready_addresses) == ("None", True)
    assert service.selector.items() <= pods.metadata.labels.items()
    assert pods.spec.subdomain == "digits-train"


def test_the_run_file_says_what_the_pods_do() -> None:
    run = json.loads(started().child(ConfigMap, "digits-train-1-run").data["run.json"])
    spec_digest = run["lineage"].pop("specDigest")
    assert spec_digest.startswith("sha256:")
    assert run == {
        "identity": {"namespace": "default", "name": "digits", "uid": "uid-1", "attempt": 1},
        "script": "train.py",
        "args": ["--epochs", "5"],
        "inputs": [],
        "backend": "Auto",
        "processRestarts": 2,
        "forkServer": True,
        "graceSeconds": 30,
        "checkpoint": {"uri": "pvc://ckpt/digits", "resume": "Auto", "keepLatest": 2, "keepBest": 0},
        "output": {"uri": "pvc://models/digits"},
        "lineage": {
            "kind": "TrainingJob",
            "name": "digits",
            "namespace": "default",
            "codeDigest": digest_of_json({"train.py": "print(1)"}),
            "image": "modelyard/trainer",
        },
    }


def test_the_pods_mount_the_run_file_the_code_and_every_claim() -> None:
    template = started().child(Job, "digits-train-1").spec.template.spec
    assert [mount.mount_path for mount in template.containers[0].volume_mounts] == [
        "/modelyard/config",
        "/modelyard/code",
        "/modelyard/volumes/ckpt",
        "/modelyard/volumes/models",
        "/modelyard/work",
        "/tmp",
    ]


def test_every_attempt_runs_the_code_that_the_job_started_with() -> None:
    story = started()
    story.bring(code(train_py="print(2)"))
    story.visit()
    copy = story.child(ConfigMap, "digits-train-code")
    assert (copy.data, copy.immutable) == ({"train.py": "print(1)"}, True)


def test_the_digest_of_the_code_is_of_the_copy_that_runs() -> None:
    story = started()
    fresh = KIND.model.model_validate({**story.resource.model_dump(mode="json"), "status": {}})
    story.resource = fresh  # the operator died between making the children and writing the status
    story.bring(code(train_py="print(2)"))
    story.visit()
    resolved = story.resource.status.resolved
    run = json.loads(story.child(ConfigMap, "digits-train-1-run").data["run.json"])
    digest = digest_of_json({"train.py": "print(1)"})
    assert resolved is not None
    assert (resolved.code_digest, run["lineage"]["codeDigest"]) == (digest, digest)


def test_a_job_whose_image_holds_the_code_has_no_copy_of_it() -> None:
    story = started("{entrypoint: {module: acme.train}, image: acme/train}")
    assert story.names() == ["Service digits-train", "ConfigMap digits-train-1-run", "Job digits-train-1"]
    assert story.child(Job, "digits-train-1").spec.template.spec.containers[0].image == "acme/train"


def test_there_is_one_rank_for_each_accelerator() -> None:
    story = started("{entrypoint: {module: train}, accelerator: {type: nvidia.com/gpu, count: 4}}")
    job = story.child(Job, "digits-train-1")
    assert env(job)["PET_NPROC_PER_NODE"] == "4"
    assert job.spec.template.spec.containers[0].resources.limits == {"nvidia.com/gpu": "4"}


def test_a_finished_job_is_never_made_again() -> None:
    story = started()
    story.run(story.child(Job, "digits-train-1"))
    story.job_says("digits-train-1", "Failed")
    story.resource = story.resource.model_copy(
        update={"status": story.resource.status.model_copy(update={"completion_time": "2026-05-01T12:00:00Z"})}
    )
    story.objects = {}
    story.visit()
    assert story.names() == []


def test_a_job_that_completed_keeps_its_children_as_they_are() -> None:
    story = started()
    before = story.objects
    story.run(story.child(Job, "digits-train-1"))
    story.job_says("digits-train-1", "Complete")
    story.bring(code(train_py="print(2)"))
    story.visit()
    story.visit()
    assert list(story.objects) == list(before)


@pytest.mark.parametrize("name", ["RANK", "MASTER_ADDR", "OMP_NUM_THREADS", "PET_NNODES", "MODELYARD_ROOT"])
def test_a_reserved_variable_is_refused_with_the_list_of_them(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Story(KIND, f"{{entrypoint: {{module: train}}, env: [{{name: {name}}}]}}")
    (error,) = caught.value.errors()
    reserved = "RANK, LOCAL_RANK, GROUP_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, "
    reserved += "JOB_COMPLETION_INDEX, OMP_NUM_THREADS, PYTHONUNBUFFERED"
    assert error["loc"] == ("spec", "env", 0)
    assert f"choose another name (reserved names: {reserved} and all that start with PET_, MODEL" in error["msg"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{entrypoint: {}}", "set exactly one of script and module"),
        ("{entrypoint: {script: a.py, module: a}}", "set exactly one of script and module"),
        ("{entrypoint: {script: a.py}}", "entrypoint.script is a file of the code: set code.configMap"),
        (
            "{entrypoint: {module: a}, gates: [{metric: accuracy, value: '1'}]}",
            "gates look at the artefact: set output.uri",
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Story(KIND, spec)


def test_a_spec_cannot_be_changed() -> None:
    story = started()
    before = story.resource.spec
    story.edit("{backend: Gloo}")
    assert story.resource.spec.transition_errors(before) == [
        "cannot be changed; delete the job, or give the new one another name"
    ]


def test_three_attempts_keep_their_job_and_run_file() -> None:
    story = started("{entrypoint: {module: train}, restart: {maxRestarts: 9, backoffSeconds: 0}}")
    for attempt in range(1, 5):
        story.run(story.child(Job, f"digits-train-{attempt}"))
        story.job_says(f"digits-train-{attempt}", "Failed")
        story.visit()
        story.visit(1)
        story.visit()
    assert story.names() == [
        "Service digits-train",
        "ConfigMap digits-train-5-run",
        "Job digits-train-5",
        "Job digits-train-3",
        "ConfigMap digits-train-3-run",
        "Job digits-train-4",
        "ConfigMap digits-train-4-run",
    ]
