"""Who sets the number of a revision's pods: the spec, or an autoscaler of the revision's own. Pure."""

from datetime import datetime, timedelta

from modelyard.api.autoscaling import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    MetricSpec,
    MetricTarget,
    ResourceMetric,
    ScaleTarget,
    ScalingRules,
)
from modelyard.api.children import Children
from modelyard.api.conditions import Condition, false, parse_timestamp, true, unknown
from modelyard.api.workloads import Deployment
from modelyard.kinds.modelservice.model import Autoscaling, ModelService, Revision, ScalingDirection

SCALING_ACTIVE = "ScalingActive"
SCALE_DOWN_SECONDS = 300
"""The autoscaler's own scale-down window where the spec sets none."""
METRICS_LAG_SECONDS = 60
"""So old may be the load that the metrics server tells."""
_REMEDIES = (
    ("pods.metrics.k8s.io", "install the metrics server, or set replicas in place of autoscaling"),
    ("no metrics returned", "a pod that has just started has none for a minute"),
    ("did not receive metrics", "a pod that has just started has none for a minute"),
    ("missing request", "set it in spec.resources.requests"),
    ("replica count of the target is zero", "scale the Deployment to 1 or more"),
)
_METRICS = {"Cpu": "cpu", "Memory": "memory"}


def child_name(service: ModelService, revision: str) -> str:
    """The name of a revision's Deployment, run file and autoscaler."""
    return f"{service.metadata.name}-serve-{revision}"


def least_replicas(service: ModelService, scaling: Autoscaling, revision: str, children: Children) -> int:
    """The fewest pods that the revision's autoscaler may choose now.

    A candidate gets as many as the stable revision has, and keeps them for a while after it took over, so that a
    roll-out takes no capacity away.
    """
    stable = service.status.stable
    held = 0
    if stable is not None and stable.revision == revision:
        held = stable.min_replicas or 0
    elif stable is not None:
        found = children.find(Deployment, child_name(service, stable.revision))
        asked = found.spec.replicas if found is not None else None
        held = stable.replicas if asked is None else asked
    return min(max(scaling.min_replicas, held), scaling.max_replicas)


def autoscaler(deployment: Deployment, scaling: Autoscaling, least: int) -> HorizontalPodAutoscaler:
    """The autoscaler of one revision, which chooses ``least`` pods or more."""
    target = ScaleTarget(api_version=deployment.api_version, kind=deployment.kind, name=deployment.metadata.name)
    up, down = _rules(scaling.behavior.scale_up), _rules(scaling.behavior.scale_down)
    metadata = deployment.metadata
    return HorizontalPodAutoscaler(
        metadata=type(metadata)(name=metadata.name, namespace=metadata.namespace, labels=metadata.labels),
        spec=HorizontalPodAutoscalerSpec(
            scale_target_ref=target,
            min_replicas=least,
            max_replicas=scaling.max_replicas,
            metrics=[
                MetricSpec(
                    resource=ResourceMetric(
                        name=_METRICS[metric.type], target=MetricTarget(average_utilization=metric.target)
                    )
                )
                for metric in scaling.metrics
            ],
            behavior=HorizontalPodAutoscalerBehavior(scale_up=up, scale_down=down) if up or down else None,
        ),
    )


def _rules(direction: ScalingDirection) -> ScalingRules | None:
    seconds = direction.stabilization_window_seconds
    return None if seconds is None else ScalingRules(stabilization_window_seconds=seconds)


def seconds_held(scaling: Autoscaling, stable: Revision, now: datetime) -> float | None:
    """Seconds until the autoscaler of a revision that took over may choose fewer pods; None: it may already.

    While a candidate has no requests, its autoscaler takes note that hardly any pods are needed, and remembers that for
    its scale-down window.
    """
    if stable.min_replicas is None or stable.ready_time is None:
        return None
    window = scaling.behavior.scale_down.stabilization_window_seconds
    held = (SCALE_DOWN_SECONDS if window is None else window) + METRICS_LAG_SECONDS
    left = (parse_timestamp(stable.ready_time) + timedelta(seconds=held) - now).total_seconds()
    return left if left > 0 else None


def scaling_active(service: ModelService, children: Children) -> Condition | None:
    """What the autoscaler of the stable revision says, else that of the first one; None without autoscaling."""
    scaling, status = service.spec.autoscaling, service.status
    revision = status.stable or status.candidate
    if scaling is None:
        return None
    found = children.find(HorizontalPodAutoscaler, child_name(service, revision.revision)) if revision else None
    if found is None or not found.status.conditions:
        return unknown(SCALING_ACTIVE, "NotLookedYet", "the autoscaler has said nothing yet")
    for kind in ("AbleToScale", SCALING_ACTIVE):
        said = found.condition(kind)
        if said is not None and said.status == "False":
            remedy = next((f"; {remedy}" for words, remedy in _REMEDIES if words in said.message), "")
            return false(SCALING_ACTIVE, said.reason or "NotActive", f"{said.message}{remedy}")
    limited = found.condition("ScalingLimited")
    bounds = f"{scaling.min_replicas} to {scaling.max_replicas} pods"
    if limited is not None and limited.status == "True" and limited.reason == "TooManyReplicas":
        text = f"the load asks for more than {scaling.max_replicas} pods; raise spec.autoscaling.maxReplicas"
        return true(SCALING_ACTIVE, limited.reason, text)
    if found.condition(SCALING_ACTIVE) is None:
        return unknown(SCALING_ACTIVE, "NotMeasuredYet", bounds)
    return true(SCALING_ACTIVE, "ScalesWithLoad", bounds)
