import json

import pytest
from pydantic import ValidationError

from kind_stories import DIGEST, OTHER_DIGEST, READY, Story, claim, code, ended, failure
from modelyard.api.workloads import ConfigMap, Job, Service
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.kinds.compressionjob import KIND
from modelyard.kinds.compressionjob.model import CompressionJob

SPEC = f"""
source: {{artifact: {{uri: "pvc://models/a", digest: "{DIGEST}"}}}}
code: {{configMap: {{name: digits-code}}}}
entrypoint: {{script: train.py, model: Net}}
data: {{training: {{uri: "pvc://data/train.npz"}}, calibration: {{seed: 3}}}}
recipe:
- prune: {{method: Magnitude, ratio: ["0.3", "0.5", "0.3"], roundTo: 4, finetuneEpochs: 3, learningRate: "0.01"}}
- lowRank: {{energy: ["0.9"]}}
- distil: {{temperature: "2", alpha: "0.5", features: "10"}}
- quantize: {{mode: [Static]}}
tuning: {{nodes: 2, procsPerNode: 2, resources: {{limits: {{cpu: "4"}}}}}}
output: {{uri: "pvc://models/int8"}}
pod: {{nodeSelector: {{zone: a}}}}
"""
PRUNED = SPEC.replace('- lowRank: {energy: ["0.9"]}\n', "")
SOURCES = claim("models"), claim("data"), code(train_py="class Net: ...")
TUNED = Termination.model_validate(
    {
        "outcome": "Succeeded",
        "reason": "Completed",
        "message": "published",
        "tuned": [{"name": "pruned-0.3", "digest": DIGEST}, {"name": "pruned-0.5", "digest": OTHER_DIGEST}],
    }
)


def tuning(spec: str = SPEC) -> Story[CompressionJob]:
    story = Story(KIND, spec, *SOURCES, name="int8")
    story.visit()
    return story


def done() -> Story[CompressionJob]:
    """The tuning has published, and the job was visited again."""
    story = tuning(PRUNED)
    story.run(story.child(Job, "int8-tune"), ended(TUNED))
    story.job_says("int8-tune", "Complete")
    story.visit(60)
    story.visit(1)
    return story


def run_of(story: Story[CompressionJob], name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(story.child(ConfigMap, name).data["run.json"])
    return found


def test_the_model_is_tuned_by_pods_of_the_trainer_before_anything_is_quantized() -> None:
    story = tuning()
    assert story.names() == [
        "ConfigMap int8-tune-code",
        "Service int8-tune",
        "ConfigMap int8-tune-run",
        "Job int8-tune",
    ]
    job = story.child(Job, "int8-tune").spec
    pod = job.template.spec
    found = {each.name: each.value for each in pod.containers[0].env}
    assert (job.completion_mode, job.completions, job.backoff_limit_per_index, pod.node_selector) == (
        "Indexed",
        2,
        2,
        {"zone": "a"},
    )
    assert (found["PET_NNODES"], found["PET_NPROC_PER_NODE"], found["OMP_NUM_THREADS"]) == ("2", "2", "2")
    assert found["PET_RDZV_ENDPOINT"] == "int8-tune-0.int8-tune.default.svc:29400"
    assert story.child(Service, "int8-tune").spec.selector == job.template.metadata.labels


def test_the_run_file_of_a_tuning_names_each_variant_once() -> None:
    run = run_of(tuning(), "int8-tune-run")
    lineage = run.pop("lineage")
    assert isinstance(lineage, dict)
    assert (lineage["parent"], lineage["image"], lineage["codeDigest"][:7]) == (DIGEST, "modelyard/trainer", "sha256:")
    assert (run["module"], run["inputs"], run["output"]) == (
        "modelyard_trainer.tuning",
        [{"name": "training", "uri": "pvc://data/train.npz"}],
        {"uri": "pvc://models/int8/tuned"},
    )
    assert run["tune"] == {
        "script": "train.py",
        "model": "Net",
        "source": {"uri": "pvc://models/a", "digest": DIGEST},
        "variants": [
            {"name": "pruned-0.3-lowrank-0.9", "ratio": 0.3, "energy": 0.9},
            {"name": "pruned-0.5-lowrank-0.9", "ratio": 0.5, "energy": 0.9},
        ],
        "prune": {"epochs": 3, "learningRate": 0.01, "method": "Magnitude", "roundTo": 4},
        "lowRank": {"epochs": 2, "learningRate": 0.001},
        "distil": {"temperature": 2.0, "alpha": 0.5, "features": 10.0},
        "seed": 3,
    }


def test_what_was_tuned_is_pinned_and_quantized_beside_the_source() -> None:
    story = done()
    place = "pvc://models/int8/tuned/sha256"
    starts = [
        {"name": "pruned-0.3", "uri": f"{place}-111111111111", "digest": DIGEST},
        {"name": "pruned-0.5", "uri": f"{place}-222222222222", "digest": OTHER_DIGEST},
    ]
    assert run_of(story, "int8-compress-run")["starts"] == starts
    assert [each.model_dump(mode="json", exclude_none=True) for each in story.resource.status.tuned] == starts
    assert story.conditions()["Tuned"] == "True Published"
    assert "Job int8-tune" in story.names()
    story.pods = []
    story.bring(code(train_py="another"))
    before = story.child(ConfigMap, "int8-tune-code").data
    story.visit(60)
    assert run_of(story, "int8-compress-run")["starts"] == starts
    assert story.child(ConfigMap, "int8-tune-code").data == before


def test_the_status_tells_what_the_tuning_does() -> None:
    story = tuning()
    assert story.resource.status.message == "tuning: the pod starts"
    story.run(story.child(Job, "int8-tune"), READY)
    story.progress = {"int8-tune-0": ProgressReport(stage="Training", step=3, total_steps=9, time="")}
    story.visit(1)
    progress = story.resource.status.progress
    assert (story.resource.status.state, story.resource.status.message) == ("Running", "tuning: training")
    assert progress is not None
    assert (progress.step, progress.total_steps) == (3, 9)


def test_a_tuning_that_fails_for_good_fails_the_job_with_the_root_cause() -> None:
    story = tuning()
    lost, wrong = failure("PeerLost", "another pod ended"), failure("ModelNotFound", "no Net", rank=2)
    story.run(story.child(Job, "int8-tune"), ended(lost, code=1), ended(wrong, code=3))
    story.job_says("int8-tune", "Failed", "PodFailurePolicy")
    story.visit(60)
    assert (story.resource.status.state, story.resource.status.message) == ("Failed", "tuning: no Net")
    assert story.conditions()["Failed"] == "True ModelNotFound"


def test_a_tuning_waits_for_its_code() -> None:
    story = Story(KIND, SPEC, claim("models"), claim("data"), name="int8")
    story.visit()
    assert (story.names(), story.resource.status.message) == (
        [],
        "spec.code.configMap: ConfigMap 'digits-code' not found; create it in the same namespace",
    )
    assert story.conditions()["Accepted"] == "False ConfigMapNotFound"


@pytest.mark.parametrize("missing", ["code", "entrypoint", "data"])
def test_a_step_that_tunes_needs_the_class_and_samples(missing: str) -> None:
    spec = tuning(PRUNED).resource.spec
    body = spec.model_dump(mode="json", exclude_none=True)
    del body[missing]
    with pytest.raises(ValidationError, match=r"set code, entrypoint and data.training"):
        type(spec).model_validate(body)


@pytest.mark.parametrize(
    "spec",
    [
        "{code: {configMap: {name: a}}}",
        "{entrypoint: {script: train.py, model: Net}}",
        '{data: {training: {uri: "pvc://data/train.npz"}}}',
        "{trainerImage: a}",
        "{tuning: {nodes: 2}}",
        "{recipe: [{distil: {}}, {quantize: {}}]}",
    ],
)
def test_what_only_tuning_reads_is_refused_without_it(spec: str) -> None:
    body = f'source: {{artifact: {{uri: "pvc://models/a", digest: "{DIGEST}"}}}}\noutput: {{uri: "pvc://models/b"}}'
    with pytest.raises(ValidationError, match="are for prune and lowRank"):
        Story(KIND, body).edit(spec)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[{lowRank: {}}, {prune: {}}, {quantize: {}}]", "in the order prune, lowRank, distil, optimise, quantize"),
        ("[{prune: {}}, {prune: {}}, {quantize: {}}]", "each at most once"),
        ("[{prune: {}, distil: {}}, {quantize: {}}]", "set exactly one of prune, lowRank, distil"),
        ("[{prune: {method: Unstructured}}, {quantize: {}}]", "unstructured and 2:4 sparsity are not offered"),
        ('[{prune: {ratio: ["0"]}}, {quantize: {}}]', "ratio"),
        ('[{prune: {ratio: ["0.30"]}}, {quantize: {}}]', "ratio"),
        ('[{prune: {}}, {distil: {alpha: "1.5"}}, {quantize: {}}]', "alpha"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(recipe: str, message: str) -> None:
    story = tuning(PRUNED)
    with pytest.raises(ValidationError, match=message):
        story.edit(f"{{recipe: {recipe}}}")
