import json

import pytest
from pydantic import ValidationError

from kind_stories import DIGEST, OTHER_DIGEST, Story, claim, publisher
from modelyard.api.workloads import ConfigMap, Job
from modelyard.kinds.compressionjob import KIND
from modelyard.kinds.compressionjob.model import CompressionJob

SPEC = """
source: {trainingJob: {name: digits}}
data: {evaluation: {uri: "pvc://data/eval.npz"}}
recipe: [{optimise: {}}, {quantize: {mode: [Static, Int4], rangeRepair: [true], accuracyFallbackNodes: 3}}]
search: {maxTrials: 5, maxDurationSeconds: 600}
target: {nodeSelector: {cpu: icelake}, resources: {limits: {cpu: "1500m", memory: 1Gi}}, batchSizes: [1, 8]}
gates: {maxAccuracyDrop: "0.01", accuracyDropBy: UpperBound, maxLatencyP99Milliseconds: 8, minSpeedup: "1.3",
        maxSizeBytes: 30000, minInt8MacShare: "0.8", onFailure: PublishBaseline}
output: {uri: "pvc://models/int8"}
pod: {nodeSelector: {zone: a}}
"""
ONE_DIGEST = f"""
data:
  calibration: {{uri: "pvc://a/b", digest: "{DIGEST}"}}
  evaluation: {{uri: "pvc://a/c", digest: "{DIGEST}"}}
"""
MINIMAL = f"""
source: {{artifact: {{uri: "pvc://models/a", digest: "{DIGEST}"}}}}
output: {{uri: "pvc://models/int8"}}
"""


def started() -> Story[CompressionJob]:
    sources = publisher("TrainingJob", "digits", "Complete"), claim("data"), claim("models")
    story = Story(KIND, SPEC, *sources, name="int8")
    story.visit()
    return story


def run_of(story: Story[CompressionJob]) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        story.child(ConfigMap, f"{story.resource.metadata.name}-compress-run").data["run.json"]
    )
    return found


def test_a_job_is_a_run_file_and_one_pod_that_is_tried_again_only_for_infrastructure() -> None:
    story = started()
    assert story.names() == ["ConfigMap int8-compress-run", "Job int8-compress"]
    job = story.child(Job, "int8-compress").spec
    assert job.pod_failure_policy is not None
    assert (job.backoff_limit, job.pod_failure_policy.model_dump(exclude_defaults=True)) == (
        2,
        {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            ]
        },
    )


def test_the_run_file_says_what_the_pod_does() -> None:
    run = run_of(started())
    lineage = run.pop("lineage")
    assert isinstance(lineage, dict)
    assert (lineage["parent"], lineage["kind"]) == (DIGEST, "CompressionJob")
    assert str(run.pop("reportName")).startswith("report-")
    assert run == {
        "identity": {"namespace": "default", "name": "int8", "uid": "uid-1", "attempt": 1},
        "source": {"uri": "pvc://models/digits", "digest": DIGEST},
        "evaluation": {"uri": "pvc://data/eval.npz"},
        "calibrationSamples": 256,
        "seed": 0,
        "metric": {"name": "Top1", "higherIsBetter": True},
        "optimise": True,
        "quantize": {
            "mode": ["Static", "Int4"],
            "perChannel": [True, False],
            "rangeRepair": [True],
            "reduceRange": "Auto",
            "calibrationMethod": ["MinMax"],
            "accuracyFallbackNodes": 3,
        },
        "search": {"maxTrials": 5, "maxDurationSeconds": 600, "parallelism": 1},
        "batchSizes": [1, 8],
        "threads": 2,
        "gates": {
            "maxAccuracyDrop": 0.01,
            "maxLatencyP99Milliseconds": 8.0,
            "minSpeedup": 1.3,
            "maxSizeBytes": 30000,
            "minInt8MacShare": 0.8,
            "accuracyDropBy": "UpperBound",
            "onFailure": "PublishBaseline",
        },
        "output": {"uri": "pvc://models/int8"},
    }


def test_a_metric_may_be_a_function_of_the_image() -> None:
    story = Story(KIND, MINIMAL, claim("models"), name="int8")
    story.edit("{metric: {name: Bleu, entrypoint: 'scores.text:bleu', higherIsBetter: false}}")
    story.visit()
    assert run_of(story)["metric"] == {"name": "Bleu", "entrypoint": "scores.text:bleu", "higherIsBetter": False}


def test_the_pod_runs_where_the_model_will_serve() -> None:
    template = started().child(Job, "int8-compress").spec.template.spec
    assert template.node_selector == {"zone": "a", "cpu": "icelake"}
    assert template.containers[0].resources.limits == {"cpu": "1500m", "memory": "1Gi"}
    assert [mount.mount_path for mount in template.containers[0].volume_mounts[:3]] == [
        "/modelyard/config",
        "/modelyard/volumes/models",
        "/modelyard/volumes/data",
    ]


def test_without_a_recipe_the_model_is_optimised_and_quantized() -> None:
    story = Story(KIND, MINIMAL, claim("models"))
    story.visit()
    run = run_of(story)
    assert (run["optimise"], run["quantize"], run["gates"]) == (
        True,
        {
            "mode": ["Auto"],
            "perChannel": [True, False],
            "rangeRepair": [True, False],
            "reduceRange": "Auto",
            "calibrationMethod": ["MinMax"],
            "accuracyFallbackNodes": 8,
        },
        {"accuracyDropBy": "Mean", "onFailure": "Reject"},
    )


def test_nothing_is_made_before_the_source_is_complete() -> None:
    story = Story(KIND, SPEC, publisher("TrainingJob", "digits", None), claim("data"), claim("models"))
    story.visit()
    assert story.names() == []


def test_the_source_is_pinned_when_it_is_first_seen() -> None:
    story = started()
    before = run_of(story)
    story.bring(publisher("TrainingJob", "digits", "Complete", OTHER_DIGEST))
    story.visit()
    story.sources = {}
    story.visit()
    assert run_of(story) == before
    assert story.resource.status.source is not None
    assert story.resource.status.source.digest == DIGEST


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{source: {}}", "set exactly one of trainingJob and artifact"),
        (
            ONE_DIGEST,
            "calibration and evaluation have one digest",
        ),
        ("{recipe: [{}]}", "set exactly one of prune, lowRank, distil, optimise and quantize in each step"),
        ("{recipe: [{optimise: {}}]}", "recipe: exactly one quantize step, and it is the last"),
        ("{recipe: [{quantize: {}}, {optimise: {}}]}", "recipe: exactly one quantize step, and it is the last"),
        (
            '{data: {calibration: {uri: "pvc://d/a.npz"}, evaluation: {uri: "pvc://d/a.npz"}}}',
            "calibration and evaluation must be different sets",
        ),
        (f'{{data: {{calibration: {{digest: "{DIGEST}"}}}}}}', "digest is of the file at uri: set uri too"),
        ("{gates: {maxAccuracyDrop: 0.01}}", "maxAccuracyDrop"),
        ("{metric: {name: Bleu}}", "metric.name: one of Top1, F1, Rmse and Cosine, or another one with an entrypoint"),
        ("{metric: {name: F1, entrypoint: 'scores:bleu'}}", "metric.name: one of Top1, F1, Rmse and Cosine"),
        ("{metric: {name: Bleu, entrypoint: scores.bleu}}", "metric.entrypoint"),
        ("{metric: {higherIsBetter: false}}", "metric.higherIsBetter is of an entrypoint"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec: str, message: str) -> None:
    story = Story(KIND, MINIMAL)
    with pytest.raises(ValidationError, match=message):
        story.edit(spec)


def test_a_spec_cannot_be_changed() -> None:
    story = Story(KIND, MINIMAL)
    before = story.resource.spec
    story.edit("{backoffLimit: 5}")
    assert story.resource.spec.transition_errors(before) == [
        "cannot be changed; delete the job, or give the new one another name"
    ]


def test_the_pod_tolerates_what_the_spec_says_and_the_taint_of_its_accelerator() -> None:
    target = "target: {resources: {limits: {nvidia.com/gpu: 1}}, nodeSelector: {zone: b}}"
    pod = "pod: {tolerations: [{key: a, operator: Exists}], nodeSelector: {zone: a, disk: fast}}"
    story = Story(KIND, f"{MINIMAL}\n{target}\n{pod}", claim("models"), name="int8")
    story.visit()
    spec = story.child(Job, "int8-compress").spec.template.spec
    assert [each.key for each in spec.tolerations] == ["a", "nvidia.com/gpu"]
    assert spec.node_selector == {"zone": "b", "disk": "fast"}
