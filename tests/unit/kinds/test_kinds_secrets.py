"""Secrets with the keys to buckets: named in the spec, mounted into the pods, handed on by name with the artefact."""

import json

import pytest
from pydantic import ValidationError

from kind_stories import DIGEST, Story, ended
from modelyard.api.metadata import API_VERSION, JsonObject
from modelyard.api.references import LocalReference
from modelyard.api.workloads import ConfigMap, Deployment, Job
from modelyard.contract.reports import PublishedArtifact, Termination
from modelyard.kinds import compressionjob, modelservice, trainingjob
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.modelservice.scaling import child_name

TRAINING = """
entrypoint: {module: train}
checkpoint: {uri: "s3://models/ckpt", secretRef: {name: store}}
output: {uri: "s3://models/digits", secretRef: {name: store}}
"""
PLACE = f'uri: "pvc://models/a", digest: "{DIGEST}", secretRef: {{name: store}}'
REFUSED = "secretRef is for s3://, gs:// and az:// only: a claim is mounted and needs no keys"


def mounted(workload: Job | Deployment) -> dict[str, tuple[str, bool | None]]:
    """The Secrets of the pods by the folder that they are mounted at, and whether the pod starts without them."""
    spec = workload.spec.template.spec
    folders = {mount.name: mount.mount_path for mount in spec.containers[0].volume_mounts}
    return {folders[each.name]: (each.secret.secret_name, each.secret.optional) for each in spec.volumes if each.secret}


def complete(kind: str, name: str, secret: str | None) -> JsonObject:
    """A job that published into a bucket."""
    artifact: JsonObject = {"uri": f"s3://models/{name}", "digest": DIGEST}
    if secret is not None:
        artifact["secretRef"] = {"name": secret}
    done: JsonObject = {"type": "Complete", "status": "True", "reason": "Completed"}
    status: JsonObject = {"conditions": [done], "artifact": artifact}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": status}


def serving(secret: str | None) -> Story[ModelService]:
    spec = "{model: {compressionJob: {name: int8}}}"
    story = Story(modelservice.KIND, spec, complete("CompressionJob", "int8", secret))
    story.visit()
    return story


def test_a_training_mounts_its_secret_once_and_hands_its_name_on_with_the_artefact() -> None:
    story = Story(trainingjob.KIND, TRAINING)
    story.visit()
    job = story.child(Job, "digits-train-1")
    assert mounted(job) == {"/modelyard/secrets/store": ("store", True)}
    assert not any("AWS" in variable.name for variable in job.spec.template.spec.containers[0].env)
    run = json.loads(story.child(ConfigMap, "digits-train-1-run").data["run.json"])
    assert (run["output"], run["checkpoint"]["secret"]) == ({"uri": "s3://models/digits", "secret": "store"}, "store")
    published = PublishedArtifact(uri="s3://models/digits/sha256-1", digest=DIGEST, size_bytes=9)
    end = Termination(outcome="Succeeded", reason="Completed", message="", artifact=published)
    story.run(job, ended(end))
    story.job_says("digits-train-1", "Complete")
    story.visit(60)
    assert story.resource.status.artifact is not None
    assert story.resource.status.artifact.secret_ref == LocalReference(name="store")


def test_a_compression_mounts_the_secret_of_its_source_and_those_of_its_own() -> None:
    spec = """
    source: {trainingJob: {name: digits}}
    data: {calibration: {uri: "s3://data/c.npz", secretRef: {name: data}}, evaluation: {uri: "s3://data/e.npz"}}
    output: {uri: "s3://models/int8", secretRef: {name: mine}}
    """
    story = Story(compressionjob.KIND, spec, complete("TrainingJob", "digits", "store"), name="int8")
    story.visit()
    assert [name for name, _ in mounted(story.child(Job, "int8-compress")).values()] == ["store", "data", "mine"]
    run = json.loads(story.child(ConfigMap, "int8-compress-run").data["run.json"])
    assert [run[field].get("secret") for field in ("source", "calibration", "evaluation", "output")] == [
        "store", "data", None, "mine",
    ]  # fmt: skip
    assert story.resource.status.source is not None
    assert story.resource.status.source.secret == "store"


def test_a_service_pins_the_secret_with_the_model_and_another_one_is_another_revision() -> None:
    story = serving("store")
    candidate = story.resource.status.candidate
    assert candidate is not None
    deployment = story.child(Deployment, child_name(story.resource, candidate.revision))
    assert mounted(deployment) == {"/modelyard/secrets/store": ("store", True)}
    story.sources = {}
    story.visit()
    assert story.resource.status.model is not None
    assert story.resource.status.model.secret == "store"
    others = [serving(secret).resource.status.candidate for secret in ("store", "other", None)]
    assert len({other.revision for other in others if other is not None}) == 3


@pytest.mark.parametrize(
    "spec",
    [
        'output: {uri: "pvc://models/a", secretRef: {name: store}}',
        'checkpoint: {uri: "pvc://models/a", secretRef: {name: store}}',
    ],
)
def test_a_claim_takes_no_secret_in_a_training(spec: str) -> None:
    with pytest.raises(ValidationError, match=REFUSED):
        Story(trainingjob.KIND, f"{{entrypoint: {{module: a}}, {spec}}}")


@pytest.mark.parametrize(
    "changes",
    [
        f"{{source: {{artifact: {{{PLACE}}}}}}}",
        '{data: {calibration: {uri: "pvc://d/a.npz", secretRef: {name: store}}}}',
        "{data: {calibration: {secretRef: {name: store}}}}",
        '{data: {evaluation: {uri: "pvc://d/a.npz", secretRef: {name: store}}}}',
        '{output: {uri: "pvc://models/a", secretRef: {name: store}}}',
    ],
)
def test_a_claim_takes_no_secret_in_a_compression(changes: str) -> None:
    story = Story(compressionjob.KIND, '{source: {trainingJob: {name: a}}, output: {uri: "s3://models/a"}}')
    with pytest.raises(ValidationError, match=REFUSED):
        story.edit(changes)


def test_a_claim_takes_no_secret_in_a_service() -> None:
    with pytest.raises(ValidationError, match=REFUSED):
        Story(modelservice.KIND, f"{{model: {{artifact: {{{PLACE}}}}}}}")
