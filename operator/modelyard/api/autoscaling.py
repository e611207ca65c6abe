"""autoscaling/v2 HorizontalPodAutoscaler: the fields that Modelyard writes or reads, typed."""

from modelyard.api.base import Observed
from modelyard.api.metadata import KubeObject


class ScaleTarget(Observed):
    """What is scaled."""

    api_version: str
    kind: str
    name: str


class MetricTarget(Observed):
    """The value that is aimed at: a share of the pods' requests, in percent."""

    type: str = "Utilization"
    average_utilization: int | None = None


class ResourceMetric(Observed):
    """A resource that the kubelet measures."""

    name: str
    target: MetricTarget


class MetricSpec(Observed):
    """One metric; the one that asks for most pods decides."""

    type: str = "Resource"
    resource: ResourceMetric | None = None


class ScalingRules(Observed):
    """How fast it goes one way."""

    stabilization_window_seconds: int | None = None


class HorizontalPodAutoscalerBehavior(Observed):
    """How fast it goes."""

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class HorizontalPodAutoscalerSpec(Observed):
    """What is scaled, between which bounds, by which metrics."""

    scale_target_ref: ScaleTarget
    min_replicas: int = 1
    max_replicas: int
    metrics: list[MetricSpec] = []
    behavior: HorizontalPodAutoscalerBehavior | None = None


class HorizontalPodAutoscalerCondition(Observed):
    """AbleToScale, ScalingActive or ScalingLimited."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class HorizontalPodAutoscalerStatus(Observed):
    """What the autoscaler says."""

    current_replicas: int = 0
    desired_replicas: int = 0
    conditions: list[HorizontalPodAutoscalerCondition] = []


class HorizontalPodAutoscaler(KubeObject):
    """autoscaling/v2 HorizontalPodAutoscaler."""

    api_version: str = "autoscaling/v2"
    kind: str = "HorizontalPodAutoscaler"
    spec: HorizontalPodAutoscalerSpec
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()

    def condition(self, kind: str) -> HorizontalPodAutoscalerCondition | None:
        """The condition of that type, or None."""
        return next((each for each in self.status.conditions if each.type == kind), None)
