import pytest
from pydantic import ValidationError

from kind_stories import DIGEST, OTHER_DIGEST, READY, Story
from modelyard.api.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus
from modelyard.api.pods import PodStatus
from modelyard.api.workloads import Deployment, Service
from modelyard.kinds.modelservice import KIND
from modelyard.kinds.modelservice.model import ModelService, Revision
from modelyard.kinds.modelservice.scaling import child_name

SPEC = """
model: {artifact: {uri: pvc://models/a, digest: DIGEST}}
resources: {limits: {cpu: '1'}}
autoscaling: {minReplicas: 2, maxReplicas: 6}
""".replace("DIGEST", DIGEST)
NEXT = f"model: {{artifact: {{uri: pvc://models/b, digest: '{OTHER_DIGEST}'}}}}"
NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource"
    " cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource"
    " (get pods.metrics.k8s.io)"
)


@pytest.fixture
def story() -> Story[ModelService]:
    found = Story(KIND, SPEC)
    found.visit()
    return found


@pytest.fixture
def serving(story: Story[ModelService]) -> Story[ModelService]:
    """Its autoscaler has raised the first revision to four pods, all of them ready."""
    scaled(story, 4)
    run(story, name(story, story.resource.status.candidate), 4)
    return story


def name(story: Story[ModelService], revision: Revision | None) -> str:
    assert revision is not None
    return child_name(story.resource, revision.revision)


def scaled(story: Story[ModelService], *numbers: int) -> None:
    """What the autoscalers have made of the Deployments, in the order of these."""
    found = [each for each in story.objects.values() if isinstance(each, Deployment)]
    for each, number in zip(found, numbers, strict=True):
        spec = each.spec.model_copy(update={"replicas": number})
        story.objects[each.key] = each.model_copy(update={"spec": spec})


def run(story: Story[ModelService], deployment: str, ready: int, starting: int = 0) -> None:
    """The Deployment has so many pods, and that is seen to, twice as in a cluster."""
    story.run(story.child(Deployment, deployment), *[READY] * ready, *[PodStatus()] * starting)
    look(story)


def look(story: Story[ModelService], seconds: float = 0) -> None:
    story.visit(seconds)
    story.visit()


def least(story: Story[ModelService], deployment: str) -> int:
    return story.child(HorizontalPodAutoscaler, deployment).spec.min_replicas


def says(story: Story[ModelService], *conditions: tuple[str, str, str, str]) -> None:
    """The autoscaler of the stable revision says so."""
    found = story.child(HorizontalPodAutoscaler, name(story, story.resource.status.stable))
    said = [dict(zip(("type", "status", "reason", "message"), each, strict=True)) for each in conditions]
    status = HorizontalPodAutoscalerStatus.model_validate({"conditions": said})
    story.objects[found.key] = found.model_copy(update={"status": status})
    story.visit()


def test_an_autoscaler_sets_the_number_of_pods_and_the_operator_does_not(story: Story[ModelService]) -> None:
    deployment = name(story, story.resource.status.candidate)
    assert story.child(Deployment, deployment).spec.replicas is None
    target = {"type": "Utilization", "averageUtilization": 70}
    assert story.child(HorizontalPodAutoscaler, deployment).to_manifest()["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        "minReplicas": 2,
        "maxReplicas": 6,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }


def test_a_revision_is_stable_only_with_the_least_number_of_pods(story: Story[ModelService]) -> None:
    deployment = name(story, story.resource.status.candidate)
    scaled(story, 1)  # the default, until the autoscaler has looked
    run(story, deployment, ready=1)
    status = story.resource.status
    assert (status.stable, status.state, status.message) == (None, "Starting", "1 of 2 pods ready")
    scaled(story, 2)
    run(story, deployment, ready=2)
    assert story.resource.status.state == "Ready"


def test_pods_that_the_autoscaler_adds_do_not_make_a_service_unready(serving: Story[ModelService]) -> None:
    scaled(serving, 6)
    run(serving, name(serving, serving.resource.status.stable), ready=4, starting=2)
    status = serving.resource.status
    assert (status.state, status.message.endswith("; 4 of 6 pods ready")) == ("Ready", True)


def test_a_new_revision_brings_as_many_pods_as_serve_and_keeps_them_until_their_load_counts(
    serving: Story[ModelService],
) -> None:
    first = name(serving, serving.resource.status.stable)
    serving.edit(NEXT)
    look(serving)
    second = name(serving, serving.resource.status.candidate)
    assert (least(serving, first), least(serving, second)) == (2, 4)
    assert serving.child(Deployment, first).spec.replicas == 4
    run(serving, second, ready=3, starting=1)
    assert name(serving, serving.resource.status.stable) == first
    run(serving, second, ready=4)
    assert name(serving, serving.resource.status.stable) == second
    assert (least(serving, second), serving.revisit()) == (4, 360)
    look(serving, seconds=359)
    assert (least(serving, second), serving.revisit()) == (4, 1)
    look(serving, seconds=1)
    assert (least(serving, second), serving.revisit()) == (2, None)


def test_the_bounds_of_the_spec_hold_also_in_a_roll_out(serving: Story[ModelService]) -> None:
    serving.edit(f"{{{NEXT}, autoscaling: {{minReplicas: 1, maxReplicas: 3}}}}")
    look(serving)
    second = serving.child(HorizontalPodAutoscaler, name(serving, serving.resource.status.candidate)).spec
    assert (second.min_replicas, second.max_replicas) == (3, 3)


def test_autoscaling_is_no_new_revision_and_leaves_with_its_field(serving: Story[ModelService]) -> None:
    deployment = name(serving, serving.resource.status.stable)
    serving.edit("autoscaling: {minReplicas: 1, maxReplicas: 9}")
    look(serving)
    assert (serving.resource.status.candidate, least(serving, deployment)) == (None, 1)
    serving.edit("{autoscaling: null, replicas: 5}")
    serving.visit()
    assert f"HorizontalPodAutoscaler {deployment}" not in serving.names()
    assert serving.child(Deployment, deployment).spec.replicas == 5
    assert "ScalingActive" not in serving.conditions()


def test_a_deployment_that_somebody_set_to_zero_is_told_with_the_remedy(serving: Story[ModelService]) -> None:
    deployment = name(serving, serving.resource.status.stable)
    scaled(serving, 0)
    run(serving, deployment, ready=0)
    message = f"Deployment {deployment} was set to 0 pods, and so its autoscaler stopped: scale it to 1"
    assert (serving.resource.status.state, serving.resource.status.message) == ("ScaledToZero", message)


@pytest.mark.parametrize(
    ("said", "status", "reason", "end"),
    [
        ([], "Unknown", "NotLookedYet", "said nothing yet"),
        ([("AbleToScale", "True", "SucceededGetScale", "")], "Unknown", "NotMeasuredYet", "2 to 6 pods"),
        (
            [("AbleToScale", "True", "x", ""), ("ScalingActive", "False", "FailedGetResourceMetric", NO_METRICS)],
            "False",
            "FailedGetResourceMetric",
            "; install the metrics server, or set replicas in place of autoscaling",
        ),
        ([("AbleToScale", "False", "FailedGetScale", "not found")], "False", "FailedGetScale", "not found"),
        ([("ScalingActive", "True", "ValidMetricFound", "")], "True", "ScalesWithLoad", "2 to 6 pods"),
        (
            [("ScalingActive", "True", "ValidMetricFound", ""), ("ScalingLimited", "True", "TooManyReplicas", "")],
            "True",
            "TooManyReplicas",
            "the load asks for more than 6 pods; raise spec.autoscaling.maxReplicas",
        ),
    ],
)
def test_what_the_autoscaler_says_is_told(
    serving: Story[ModelService], said: list[tuple[str, str, str, str]], status: str, reason: str, end: str
) -> None:
    says(serving, *said)
    found = serving.condition("ScalingActive")
    assert (found.status, found.reason, found.message[-len(end) :]) == (status, reason, end)
    assert ("does not scale" in serving.resource.status.message) == (status == "False")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("autoscaling: {maxReplicas: 2}, replicas: 1", "set replicas or autoscaling, not both"),
        ("autoscaling: {maxReplicas: 2, minReplicas: 3}", "minReplicas is above maxReplicas"),
        ("autoscaling: {maxReplicas: 2, metrics: [{type: Cpu}, {type: Cpu}]}", "each type at most once"),
        ("autoscaling: {maxReplicas: 2, metrics: [{type: Memory}]}", "set resources.requests.memory"),
        ("autoscaling: {maxReplicas: 2}, resources: {}", "set resources.requests.cpu"),
        ("autoscaling: {maxReplicas: 2, provider: Keda}", "Extra inputs"),
    ],
)
def test_what_cannot_be_scaled_so_is_refused(fields: str, words: str) -> None:
    model = f"model: {{artifact: {{uri: pvc://models/a, digest: '{DIGEST}'}}}}"
    limits = "" if "resources" in fields else ", resources: {limits: {cpu: 1}}"
    with pytest.raises(ValidationError, match=words):
        Story(KIND, f"{{{model}, {fields}{limits}}}")


def test_without_either_there_is_one_pod() -> None:
    story = Story(KIND, f"model: {{artifact: {{uri: pvc://models/a, digest: '{DIGEST}'}}}}")
    story.visit()
    assert story.child(Deployment, name(story, story.resource.status.candidate)).spec.replicas == 1


def test_the_scale_subresource_finds_replicas_and_selector(serving: Story[ModelService]) -> None:
    status = serving.resource.status
    labels = serving.child(Service, "digits").spec.selector
    assert (status.replicas, dict(pair.split("=") for pair in status.selector.split(","))) == (4, labels)
