"""Why pods do not start, with the remedy: no node takes them, or the node that did cannot start them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.pods import Pod, Waiting

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
CONTAINER_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9./-]+[a-z0-9])")


@dataclass(frozen=True)
class Obstacle:
    """What keeps pods from starting: a reason for a condition, and a message with the remedy where there is one."""

    reason: str
    message: str


def unplaced(pods: Sequence[Pod], resources: str = "spec.resources") -> Obstacle | None:
    """Why no node takes some of the pods, in the scheduler's words; ``resources`` is the field that asks for them."""
    waiting = [
        condition
        for pod in pods
        for condition in pod.status.conditions
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    if not waiting:
        return None
    count = "1 pod waits" if len(waiting) == 1 else f"{len(waiting)} pods wait"
    first = waiting[0]
    why = "; ".join([first.message.rstrip("."), *remedies(first.message, resources)])
    return Obstacle(first.reason or "Unschedulable", f"{count} for a node: {why}")


def remedies(message: str, resources: str = "spec.resources") -> list[str]:
    """What may be done about each cause that the scheduler names (FitError.Error in its framework).

    What it says of preemption is left out: that repeats the causes. Other clusters bring remedies of their own.
    """
    causes = message.partition("preemption:")[0]
    found = [_missing(name, resources) for name in sorted(set(_INSUFFICIENT.findall(causes)))]
    found.extend(remedy for words, remedy in _REMEDIES.items() if words in causes)
    return list(dict.fromkeys(found))


_REMEDIES = {
    "didn't match Pod's node affinity/selector": "compare spec.pod.nodeSelector with the nodes' labels",
    "untolerated taint": "tolerate the nodes' taints in spec.pod.tolerations",
    "were unschedulable": "uncordon nodes",
    "Too many pods": "add nodes: these are full of pods",
    "no nodes available": "add nodes",
    "unbound immediate PersistentVolumeClaims": "see why the claim is not bound: kubectl describe pvc",
    "persistentvolumeclaim": "create the claim",
    "PersistentVolume's node affinity": "the claim's volume is on another node: make room there",
    "no available volume zone": "the claim's volume is in another zone: add nodes there",
    "ReadWriteOncePod access mode": "another pod uses the claim: end it, or take a claim that is ReadWriteMany",
}


def _missing(name: str, resources: str) -> str:
    if "/" not in name:
        return f"lower {resources} or add nodes"
    field = "spec.accelerator" if resources == "spec.resources" else f"it from {resources}"
    return f"no node offers enough {name}: install its device plugin, add nodes, or remove {field}"


def scheduling_note(pods: Sequence[Pod]) -> str:
    """What the scheduler said of pods that it placed, such as what this machine cannot do for them."""
    return next(
        (
            condition.message
            for pod in pods
            for condition in pod.status.conditions
            if condition.type == "PodScheduled" and condition.status == "True" and condition.message
        ),
        "",
    )


def stuck(pods: Sequence[Pod]) -> Obstacle | None:
    """The first pod that has a node but cannot start there, for what only a person can put right."""
    return next((found for pod in pods for waiting in _waiting(pod) if (found := _stuck(pod, waiting))), None)


def _stuck(pod: Pod, waiting: Waiting) -> Obstacle | None:
    if waiting.reason in IMAGE_REASONS:
        image = pod.spec.containers[0].image
        said = f": {waiting.message}" if waiting.message else ""
        remedy = "; check the image's name, and that the node may pull it"
        return Obstacle(waiting.reason, f"pod {pod.metadata.name} does not get image {image}{said}{remedy}")
    if waiting.reason in CONTAINER_REASONS:
        said = waiting.message or waiting.reason
        remedy = f"; put that right, or see kubectl describe pod {pod.metadata.name}"
        return Obstacle(waiting.reason, f"the container of pod {pod.metadata.name} cannot be made: {said}{remedy}")
    return None


def waits_for(pods: Sequence[Pod]) -> str:
    """What the first pod that cannot start waits for, as the kubelet says it; empty where it says nothing."""
    if (obstacle := stuck(pods)) is not None:
        return f": {obstacle.message}"
    return next((f": {waiting.message}" for pod in pods for waiting in _waiting(pod) if waiting.message), "")


def _waiting(pod: Pod) -> list[Waiting]:
    return [status.state.waiting for status in pod.status.container_statuses if status.state.waiting is not None]
