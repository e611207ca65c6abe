import pytest
from pydantic import ValidationError

from kind_stories import DIGEST, OTHER_DIGEST, READY, Story, ended, failure, publisher, unplaced
from modelyard.api.pods import PodCondition, PodStatus
from modelyard.api.workloads import Deployment, Ingress, IngressPort, LoadBalancerStatus, Service, ServiceStatus
from modelyard.kinds.modelservice import KIND
from modelyard.kinds.modelservice.model import ModelService, Revision
from modelyard.kinds.modelservice.scaling import child_name

SPEC = "{model: {compressionJob: {name: int8}}, replicas: 2, resources: {limits: {cpu: '1'}}}"
STARTING = PodStatus()


def waiting() -> Story[ModelService]:
    found = Story(KIND, SPEC, publisher("CompressionJob", "int8", None))
    found.visit()
    return found


@pytest.fixture
def story() -> Story[ModelService]:
    """A service whose first revision has two pods that start."""
    found = waiting()
    found.bring(publisher("CompressionJob", "int8", "Complete"))
    found.visit(60)
    return found


@pytest.fixture
def serving(story: Story[ModelService]) -> Story[ModelService]:
    """A service whose first revision serves with two pods."""
    run(story, revision_of(story.resource.status.candidate), READY, READY)
    return story


def run(story: Story[ModelService], revision: str, *statuses: PodStatus) -> None:
    """The pods of a revision are these, and that is seen to, twice as in a cluster."""
    story.run(story.child(Deployment, child_name(story.resource, revision)), *statuses)
    story.visit(1)
    story.visit()


def revision_of(found: Revision | None) -> str:
    assert found is not None
    return found.revision


def stable(story: Story[ModelService]) -> str:
    return revision_of(story.resource.status.stable)


def candidate(story: Story[ModelService]) -> str:
    return revision_of(story.resource.status.candidate)


def selected(story: Story[ModelService]) -> str:
    """The revision that gets the requests."""
    return story.child(Service, "digits").spec.selector["modelyard.dev/revision"]


def publish_again(story: Story[ModelService]) -> None:
    story.bring(publisher("CompressionJob", "int8", "Complete", OTHER_DIGEST))
    story.visit(60)


def said(story: Story[ModelService]) -> tuple[str, str]:
    return story.resource.status.state, story.resource.status.message


def test_a_service_waits_for_its_source() -> None:
    story = waiting()
    assert (story.names(), said(story)) == ([], ("Waiting", "waiting for CompressionJob 'int8'"))
    assert story.conditions() == {
        "Accepted": "True Valid",
        "ModelResolved": "False SourceNotComplete",
        "ArtifactVerified": "Unknown NotLoadedYet",
        "Available": "False NoPodReady",
        "RolloutHealthy": "True AtRest",
        "Ready": "False Waiting",
        "Reconciling": "True Waiting",
    }


def test_a_source_that_does_not_exist_is_named() -> None:
    story = Story(KIND, SPEC)
    story.visit()
    message = "spec.model.compressionJob: CompressionJob 'int8' not found; create it in the same namespace"
    assert said(story) == ("Waiting", message)
    assert story.conditions()["Accepted"] == "False SourceNotFound"


def test_a_service_without_a_model_whose_source_was_rejected_is_stalled() -> None:
    story = Story(KIND, SPEC, publisher("CompressionJob", "int8", "Rejected", message="too slow"))
    story.visit()
    assert said(story) == ("Blocked", "CompressionJob 'int8' was rejected by its gates: too slow")
    assert story.conditions()["Stalled"] == "True SourceRejected"


def test_a_service_is_a_front_and_a_run_file_and_deployment_for_its_revision(story: Story[ModelService]) -> None:
    revision = candidate(story)
    assert story.names() == [
        "Service digits",
        f"ConfigMap digits-serve-{revision}",
        f"Deployment digits-serve-{revision}",
    ]
    deployment = story.child(Deployment, f"digits-serve-{revision}").spec
    assert deployment.selector.match_labels.items() <= deployment.template.metadata.labels.items()
    assert (deployment.replicas, deployment.template.spec.termination_grace_period_seconds) == (2, 40)
    assert deployment.template.spec.volumes[1].persistent_volume_claim is not None
    assert deployment.template.spec.volumes[1].persistent_volume_claim.read_only is True


def test_the_first_revision_is_stable_only_when_all_its_pods_are_ready(story: Story[ModelService]) -> None:
    revision = candidate(story)
    run(story, revision, READY, STARTING)
    assert (said(story), story.resource.status.stable) == (("Starting", "1 of 2 pods ready"), None)
    assert story.conditions()["Ready"] == "False Starting"
    run(story, revision, READY, READY)
    assert (stable(story), story.resource.status.candidate) == (revision, None)
    assert said(story) == ("Ready", f"serving {DIGEST} at http://digits.default.svc")
    assert story.conditions() == {
        "Accepted": "True Valid",
        "ModelResolved": "True Pinned",
        "ArtifactVerified": "True DigestMatches",
        "Available": "True PodsReady",
        "RolloutHealthy": "True AtRest",
        "Ready": "True Serving",
    }


def test_a_new_digest_starts_beside_the_stable_revision_and_takes_over_when_ready(
    serving: Story[ModelService],
) -> None:
    first = stable(serving)
    publish_again(serving)
    second = candidate(serving)
    run(serving, second, READY, STARTING)
    assert (stable(serving), selected(serving)) == (first, first)
    assert serving.conditions()["Ready"] == "True Serving"
    assert serving.conditions()["Reconciling"] == "True RollingOut"
    assert f"Deployment digits-serve-{first}" in serving.names()

    run(serving, second, READY, READY)
    assert (stable(serving), selected(serving), serving.resource.status.candidate) == (second, second, None)
    assert serving.names() == [
        "Service digits",
        f"ConfigMap digits-serve-{second}",
        f"Deployment digits-serve-{second}",
    ]
    assert serving.resource.status.message == f"serving {OTHER_DIGEST} at http://digits.default.svc"


def test_a_change_of_the_pods_is_a_new_revision_and_a_change_of_their_number_is_not(
    serving: Story[ModelService],
) -> None:
    first = stable(serving)
    serving.edit("{replicas: 3}")
    serving.visit()
    assert (stable(serving), said(serving)) == (first, ("Starting", "2 of 3 pods ready"))
    serving.edit("{drain: {preStopSeconds: 1}}")
    serving.visit()
    assert candidate(serving) != first


def test_a_failing_candidate_leaves_the_service_ready(serving: Story[ModelService]) -> None:
    first = stable(serving)
    publish_again(serving)
    second = candidate(serving)
    run(serving, second, ended(failure("ModelLoadFailed", "opset 99 is not known")), STARTING)
    assert (stable(serving), selected(serving), candidate(serving)) == (first, first, second)
    fails = f"the new revision {second} fails: ModelLoadFailed: opset 99 is not known"
    assert said(serving) == ("Ready", f"serving {DIGEST} at http://digits.default.svc; {fails}")
    assert serving.conditions() == {
        "Accepted": "True Valid",
        "ModelResolved": "True Pinned",
        "ArtifactVerified": "True DigestMatches",
        "Available": "True PodsReady",
        "RolloutHealthy": "False ModelLoadFailed",
        "Ready": "True Serving",
        "Stalled": "True ModelLoadFailed",
    }


@pytest.mark.parametrize(
    ("condition", "why"),
    [("Rejected", "was rejected by its gates"), ("Failed", "failed"), ("Stalled", "cannot go on")],
)
def test_a_source_that_ends_without_an_artefact_keeps_the_revision(
    serving: Story[ModelService], condition: str, why: str
) -> None:
    first = stable(serving)
    serving.bring(publisher("CompressionJob", "int8", condition))
    serving.visit(60)
    assert (stable(serving), serving.resource.status.candidate) == (first, None)
    assert said(serving) == (
        "Ready",
        f"serving {DIGEST} at http://digits.default.svc; kept, since CompressionJob 'int8' {why}",
    )
    assert serving.conditions()["ModelResolved"] == f"True Source{condition}"


def test_a_source_that_is_deleted_changes_nothing_that_serves(serving: Story[ModelService]) -> None:
    first = stable(serving)
    serving.sources = {}
    serving.visit(60)
    assert (stable(serving), serving.resource.status.state) == (first, "Ready")
    assert serving.conditions()["Accepted"] == "True Valid"


@pytest.mark.parametrize("reason", ["DigestMismatch", "ArtifactMissing"])
def test_an_artefact_that_is_not_what_its_digest_says_is_not_verified(story: Story[ModelService], reason: str) -> None:
    run(story, candidate(story), ended(failure(reason, "model.onnx was changed")), STARTING)
    assert said(story) == ("Failed", f"{reason}: model.onnx was changed")
    assert story.conditions()["ArtifactVerified"] == f"False {reason}"
    assert story.conditions()["Stalled"] == f"True {reason}"


def test_a_server_that_ends_without_a_word_is_told_with_its_code(story: Story[ModelService]) -> None:
    run(story, candidate(story), ended(code=137, reason="OOMKilled"), STARTING)
    assert said(story) == ("Failed", "OOMKilled: the server ended with code 137 without a word")


def test_a_pod_whose_node_went_down_has_not_failed_unless_it_had_said_why(story: Story[ModelService]) -> None:
    down = [PodCondition(type="DisruptionTarget", status="True")]
    run(story, candidate(story), ended(code=137).model_copy(update={"conditions": down}), STARTING)
    assert story.resource.status.state == "Starting"
    said_why = ended(failure("DigestMismatch", "model.onnx was changed"), code=137)
    run(story, candidate(story), said_why.model_copy(update={"conditions": down}), STARTING)
    assert story.conditions()["ArtifactVerified"] == "False DigestMismatch"


def test_pods_that_no_node_takes_are_told_in_the_schedulers_words(story: Story[ModelService]) -> None:
    run(story, candidate(story), unplaced("0/1 nodes are available: 1 Insufficient memory."), STARTING)
    message = (
        "1 pod waits for a node: 0/1 nodes are available: 1 Insufficient memory; lower spec.resources or add nodes"
    )
    assert said(story) == ("Pending", message)
    assert story.condition("Available").message == message
    assert {story.conditions()[kind] for kind in ("Available", "Ready")} == {"False Unschedulable"}


def test_a_service_at_zero_replicas_is_at_rest_and_never_called_ready(serving: Story[ModelService]) -> None:
    first = stable(serving)
    serving.edit("{replicas: 0}")
    serving.visit()
    run(serving, first)
    assert (stable(serving), said(serving)) == (first, ("ScaledToZero", "replicas is 0: no pod serves"))
    assert serving.conditions() == {
        "Accepted": "True Valid",
        "ModelResolved": "True Pinned",
        "ArtifactVerified": "Unknown NotLoadedYet",
        "Available": "False ScaledToZero",
        "RolloutHealthy": "True AtRest",
        "Ready": "False ScaledToZero",
    }
    serving.edit("{replicas: 2}")
    serving.visit()
    run(serving, first, READY, READY)
    assert serving.resource.status.state == "Ready"


def test_the_address_is_the_one_from_outside_where_there_is_one(serving: Story[ModelService]) -> None:
    front = serving.child(Service, "digits")
    outside = Ingress(ip="127.0.0.1", ports=[IngressPort(port=31000)])
    status = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=[outside]))
    serving.objects[front.key] = front.model_copy(update={"status": status})
    serving.visit()
    assert serving.resource.status.url == "http://127.0.0.1:31000"


@pytest.mark.parametrize(
    "model",
    ["{}", "{trainingJob: {name: a}, compressionJob: {name: b}}"],
)
def test_a_service_has_exactly_one_model(model: str) -> None:
    with pytest.raises(ValidationError, match="set exactly one of compressionJob, trainingJob and artifact"):
        Story(KIND, f"{{model: {model}}}")


def test_a_candidate_that_no_node_takes_is_told_beside_what_serves(serving: Story[ModelService]) -> None:
    publish_again(serving)
    second = candidate(serving)
    run(serving, second, unplaced("2 nvidia.com/gpu asked for, this machine has 0"), STARTING)
    waits = f"the new revision {second} waits: 1 pod waits for a node: 2 nvidia.com/gpu asked for, this machine has 0"
    assert said(serving) == ("Ready", f"serving {DIGEST} at http://digits.default.svc; {waits}")
    assert serving.conditions()["RolloutHealthy"] == "False Unschedulable"


def test_a_service_whose_pods_all_left_their_node_has_stopped(story: Story[ModelService]) -> None:
    down = [PodCondition(type="DisruptionTarget", status="True")]
    left = ended(code=137).model_copy(update={"conditions": down})
    run(story, candidate(story), left, left)
    assert story.resource.status.state == "Stopped"
