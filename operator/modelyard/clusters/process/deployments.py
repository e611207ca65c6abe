"""What the Deployment controller does, and the autoscaler does not: keep so many pods. Pure."""

from collections.abc import Sequence

from modelyard.api.autoscaling import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
)
from modelyard.api.pods import Pod
from modelyard.api.workloads import Deployment, DeploymentStatus
from modelyard.clusters.process.jobs import Plan, pod_of


def plan_deployment(deployment: Deployment, pods: Sequence[Pod], least: int = 1) -> tuple[Plan, DeploymentStatus]:
    """The next steps and the status of ``deployment``, whose pods are ``pods``.

    Where it says no number of pods, there are ``least``.
    Pods are numbered; the surplus and those that ended for good go. The template never changes: Modelyard makes a
    Deployment for each revision.
    """
    wanted = least if deployment.spec.replicas is None else deployment.spec.replicas
    names = [f"{deployment.metadata.name}-{number}" for number in range(wanted)]
    present = {pod.metadata.name: pod for pod in pods}
    ready = sum(pod.ready for pod in pods)
    status = DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=len(pods),
        ready_replicas=ready,
        available_replicas=ready,
    )
    create = tuple(pod_of(deployment, name, name, {}) for name in names if name not in present)
    stop = tuple(pod for name, pod in present.items() if name not in names or pod.finished)
    return Plan(create=create, stop=stop), status


def autoscaler_status(autoscaler: HorizontalPodAutoscaler) -> HorizontalPodAutoscalerStatus:
    """The status of an autoscaler, which keeps its least number of pods: one machine has no room to grow into."""
    least = autoscaler.spec.min_replicas
    text = f"this machine runs minReplicas ({least}) and does not autoscale; that takes a Kubernetes cluster"
    inactive = HorizontalPodAutoscalerCondition(
        type="ScalingActive", status="False", reason="NotOnThisMachine", message=text
    )
    return HorizontalPodAutoscalerStatus(current_replicas=least, desired_replicas=least, conditions=[inactive])
