"""What the Deployment controller does: keep so many pods. Pure."""

from collections.abc import Sequence

from modelyard.api.pods import Pod
from modelyard.api.workloads import Deployment, DeploymentStatus
from modelyard.clusters.process.jobs import Plan, pod_of


def plan_deployment(deployment: Deployment, pods: Sequence[Pod]) -> tuple[Plan, DeploymentStatus]:
    """The next steps and the status of ``deployment``, whose pods are ``pods``.

    Pods are numbered; the surplus and those that ended for good go. The template never changes: Modelyard makes a
    Deployment for each revision.
    """
    wanted = 1 if deployment.spec.replicas is None else deployment.spec.replicas
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
