import pytest

from kind_stories import unplaced as unplaced_status
from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus, Waiting
from modelyard.kinds.placement import Obstacle, remedies, stuck, unplaced, waits_for

GPU = "no node offers enough nvidia.com/gpu: install its device plugin, add nodes, or remove spec.accelerator"
TAINTS = "tolerate the nodes' taints in spec.pod.tolerations"
LOWER = "lower spec.resources or add nodes"
VAIN = (
    "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod,"
    " 2 Preemption is not helpful for scheduling."
)
HELPLESS = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def pod(status: PodStatus, name: str = "a") -> Pod:
    spec = PodSpec(containers=[Container(name="main", image="registry.example/server:9")])
    return Pod(metadata=ObjectMeta(name=name), spec=spec, status=status)


def waiting(reason: str, message: str = "") -> Pod:
    state = ContainerState(waiting=Waiting(reason=reason, message=message))
    return pod(PodStatus(container_statuses=[ContainerStatus(name="main", state=state)]))


# The words of the scheduler of Kubernetes 1.37, and of older ones where those differ.
@pytest.mark.parametrize(
    ("message", "found"),
    [
        (f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, {HELPLESS}", [GPU]),
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", [GPU]),
        (f"0/1 nodes are available: 1 Insufficient memory. {HELPLESS}", [LOWER]),
        (
            f"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). {VAIN}",
            [LOWER, TAINTS],
        ),
        (
            "0/2 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 1 Insufficient cpu.",
            [LOWER, TAINTS],
        ),
        (
            f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {HELPLESS}",
            ["compare spec.pod.nodeSelector with the nodes' labels"],
        ),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", ["uncordon nodes"]),
        ("0/1 nodes are available: 1 Too many pods.", ["add nodes: these are full of pods"]),
        ("no nodes available to schedule pods", ["add nodes"]),
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            ["see why the claim is not bound: kubectl describe pvc"],
        ),
        ('0/1 nodes are available: persistentvolumeclaim "models" not found. not found', ["create the claim"]),
        (
            "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.",
            ["the claim's volume is on another node: make room there"],
        ),
        ("2 nvidia.com/gpu asked for, this machine has 0; remove spec.accelerator or use a cluster", []),
    ],
)
def test_each_cause_that_the_scheduler_names_has_its_remedy(message: str, found: list[str]) -> None:
    assert remedies(message) == found


def test_the_remedy_names_the_field_that_the_kind_has() -> None:
    message = "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu."
    assert remedies(message, "spec.target.resources") == [
        "lower spec.target.resources or add nodes",
        GPU.replace("spec.accelerator", "it from spec.target.resources"),
    ]


def test_the_pods_that_wait_are_counted_in_the_schedulers_words() -> None:
    blocked = unplaced_status("0/1 nodes are available: 1 Insufficient cpu.")
    started = PodStatus(phase="Running")
    # One that was stopped before it had a node is still the reason.
    pods = [pod(blocked), pod(started), pod(blocked.model_copy(update={"phase": "Failed"}))]
    message = f"2 pods wait for a node: 0/1 nodes are available: 1 Insufficient cpu; {LOWER}"
    assert unplaced(pods) == Obstacle("Unschedulable", message)
    assert unplaced([pod(started)]) is None


def test_an_image_that_cannot_be_had_is_named() -> None:
    found = waiting("ImagePullBackOff", 'Back-off pulling image "registry.example/server:9"')
    message = (
        'pod a does not get image registry.example/server:9: Back-off pulling image "registry.example/server:9"; '
        "check the image's name, and that the node may pull it"
    )
    assert stuck([pod(PodStatus(phase="Running")), found]) == Obstacle("ImagePullBackOff", message)
    assert waits_for([found]) == f": {message}"


def test_a_container_that_cannot_be_made_is_told_in_the_kubelets_words() -> None:
    found = waiting("CreateContainerConfigError", 'configmap "run" not found')
    assert stuck([found]) == Obstacle(
        "CreateContainerConfigError",
        'the container of pod a cannot be made: configmap "run" not found; '
        "put that right, or see kubectl describe pod a",
    )


def test_a_pod_that_only_takes_its_time_is_not_stuck() -> None:
    assert stuck([waiting("ContainerCreating"), waiting("PodInitializing")]) is None
    assert waits_for([waiting("ContainerCreating")]) == ""
    assert waits_for([waiting("ContainerCreating", "ConfigMap run")]) == ": ConfigMap run"
