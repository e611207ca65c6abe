"""ModelService: which model to serve and how, and what serves now."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, Observed, rule
from modelyard.api.containers import Accelerator, PodOptions, ResourceRequirements
from modelyard.api.quantities import Quantity
from modelyard.api.references import LocalReference, StoredArtifact
from modelyard.api.resource import Resource, Status
from modelyard.api.variables import Reserved, Variable
from modelyard.contract.reports import Serving

RESERVED = Reserved(names=("OMP_NUM_THREADS", "PYTHONUNBUFFERED"), prefixes=("MODELYARD_",))


class ModelSource(Model):
    """The model to serve. Exactly one is set."""

    compression_job: LocalReference | None = None
    """A CompressionJob; its artefact is served once it is Complete. A rejected one changes nothing."""
    training_job: LocalReference | None = None
    """A TrainingJob; its artefact is served once it is Complete."""
    artifact: StoredArtifact | None = None
    """A published artefact."""

    @rule(
        "[has(self.compressionJob), has(self.trainingJob), has(self.artifact)].filter(set, set).size() == 1",
        "set exactly one of compressionJob, trainingJob and artifact",
    )
    def _one_source(self) -> bool:
        return [self.compression_job, self.training_job, self.artifact].count(None) == 2


class ServerVariable(Variable):
    """One environment variable of the server."""

    @rule(RESERVED.cel, RESERVED.message)
    def _not_reserved(self) -> bool:
        return not RESERVED.holds(self.name)


class Runtime(Model):
    """What runs the model."""

    image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    """The server image. Default: the one that the operator was installed with."""
    execution_providers: Annotated[list[Literal["Cuda", "Cpu"]], Field(min_length=1, max_length=2)] = ["Cpu"]
    """ONNX Runtime's execution providers, best first. Where Cuda is missing, Cpu runs the model if it is listed."""
    intra_op_threads: Annotated[int | None, Field(ge=1, le=256)] = None
    """Threads of one run of the model. Default: measured when a pod starts."""
    env: Annotated[
        list[ServerVariable],
        Field(
            max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = []
    """Environment variables of the server, such as OpenTelemetry's."""


class Protocols(Model):
    """How clients talk to the service: Open Inference Protocol v2 and TF-Serving v1 over HTTP, and v2 over gRPC."""

    grpc: bool = True
    """Whether gRPC is spoken too, at port 8081 of the service."""

    max_payload: Quantity = "64Mi"
    """Largest request body; larger ones are answered with 413."""


class Network(Model):
    """Who may ask, and over what. A Secret that changes is used at once, without a new revision."""

    auth_secret_ref: LocalReference | None = None
    """The Secret with the key token: requests must carry it as ``Authorization: Bearer``, but for the health of the
    service. Default: everybody may ask."""
    tls_secret_ref: LocalReference | None = None
    """The Secret with tls.crt and tls.key, as cert-manager and ``kubectl create secret tls`` make them: HTTPS at port
    443 and gRPC over TLS. Default: plain HTTP at port 80, and plain gRPC."""


class Batching(Model):
    """How requests share runs of the model."""

    mode: Literal["Auto", "Off"] = "Auto"
    """Auto: a run takes what waits when a place to run is free, if rows of the model do not depend on each other."""
    max_batch_size: Annotated[int | None, Field(ge=1, le=65536)] = None
    """Rows of one run. Default: measured when a pod starts."""
    max_delay_milliseconds: Annotated[int, Field(ge=0, le=60000)] = 0
    """How long a request may wait for others although a place to run is free."""
    max_queue: Annotated[int, Field(ge=1, le=65536)] = 256
    """Requests that may wait in a pod; one more is answered with 503."""


class Drain(Model):
    """How a pod goes."""

    pre_stop_seconds: Annotated[int, Field(ge=0, le=600)] = 5
    """Not ready, but still serving, for so long, until every proxy has noticed."""
    grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """After that, time for requests in flight."""


class ScalingMetric(Model):
    """What the number of pods follows."""

    type: Literal["Cpu", "Memory"]
    """Use of the CPU or of memory, compared with the request, which is the limit where none is set."""
    target: Annotated[int, Field(ge=1, le=1000)] = 70
    """Percent of the request that pods should use on average."""


class ScalingDirection(Model):
    """How scaling goes one way."""

    stabilization_window_seconds: Annotated[int | None, Field(ge=0, le=3600)] = None
    """The most cautious wish of so many seconds decides. Default: 0 up, 300 down."""


class ScalingBehavior(Model):
    """How fast scaling goes."""

    scale_up: ScalingDirection = ScalingDirection()
    """More pods."""
    scale_down: ScalingDirection = ScalingDirection()
    """Fewer pods."""


class Autoscaling(Model):
    """Bounds and metrics of a HorizontalPodAutoscaler."""

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Fewest pods."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most pods."""
    metrics: Annotated[list[ScalingMetric], Field(min_length=1, max_length=2)] = [ScalingMetric(type="Cpu")]
    """The metric that asks for most pods decides."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast scaling goes."""

    @rule("self.minReplicas <= self.maxReplicas", "minReplicas is above maxReplicas")
    def _bounds_in_order(self) -> bool:
        return self.min_replicas <= self.max_replicas

    @rule(
        "self.metrics.all(metric, self.metrics.exists_one(other, other.type == metric.type))",
        "metrics: each type at most once",
    )
    def _types_once(self) -> bool:
        types = [metric.type for metric in self.metrics]
        return len(types) == len(set(types))


def _compared_with_request(metric: str, resource: str) -> str:
    """The rule that what is scaled by has a request to compare with, in CEL."""
    sets = " || ".join(
        f"(has(self.resources.{kind}) && '{resource}' in self.resources.{kind})" for kind in ("requests", "limits")
    )
    uses = f"has(self.autoscaling) && self.autoscaling.metrics.exists(metric, metric.type == '{metric}')"
    return f"!({uses}) || (has(self.resources) && ({sets}))"


class ModelServiceSpec(Model):
    """Which model to serve, with how many pods."""

    model: ModelSource
    """The model to serve."""
    runtime: Runtime = Runtime()
    """What runs the model."""
    protocols: Protocols = Protocols()
    """How clients talk to it."""
    network: Network = Network()
    """Who may ask, and over what."""
    batching: Batching = Batching()
    """How requests share runs of the model."""
    resources: ResourceRequirements = ResourceRequirements()
    """For each pod. Threads are the CPU limit, rounded up."""
    accelerator: Accelerator | None = None
    """GPUs for each pod."""
    replicas: Annotated[int | None, Field(ge=0, le=1000)] = None
    """Number of pods: 1 where neither this nor autoscaling is set."""
    autoscaling: Autoscaling | None = None
    """The number of pods follows the load."""
    drain: Drain = Drain()
    """How a pod goes."""
    pod: PodOptions = PodOptions()
    """Further options of the pods."""

    @rule(
        "!has(self.replicas) || !has(self.autoscaling)",
        "set replicas or autoscaling, not both: the autoscaler sets the number of pods (replicas: null takes it away)",
    )
    def _one_number_of_pods(self) -> bool:
        return self.replicas is None or self.autoscaling is None

    @rule(
        _compared_with_request("Cpu", "cpu"),
        "autoscaling by Cpu compares with the request: set resources.requests.cpu or resources.limits.cpu",
    )
    def _cpu_is_requested(self) -> bool:
        return self._is_requested("Cpu", "cpu")

    @rule(
        _compared_with_request("Memory", "memory"),
        "autoscaling by Memory compares with the request: set resources.requests.memory or resources.limits.memory",
    )
    def _memory_is_requested(self) -> bool:
        return self._is_requested("Memory", "memory")

    def _is_requested(self, metric: str, resource: str) -> bool:
        by = [each.type for each in self.autoscaling.metrics] if self.autoscaling is not None else []
        return metric not in by or resource in {**self.resources.requests, **self.resources.limits}

    @property
    def fixed_replicas(self) -> int | None:
        """The number of pods, or None where the autoscaler sets it."""
        if self.autoscaling is not None:
            return None
        return 1 if self.replicas is None else self.replicas


class Revision(Observed):
    """One immutable revision: a model with the settings that it is served with."""

    revision: str
    """Hash of both."""
    digest: str
    """The artefact's digest."""
    replicas: int
    """Pods asked for."""
    ready_replicas: int
    """Pods that are ready now."""
    start_time: str | None = None
    """When its Deployment was made."""
    ready_time: str | None = None
    """When it took over: all its pods were ready for the first time."""
    min_replicas: int | None = None
    """With autoscaling, since it took over: no fewer pods, until the load of that time counts."""


class LastFailure(Observed):
    """The newest failure of a pod."""

    pod: str
    """The pod."""
    reason: str
    """DigestMismatch, ModelLoadFailed and so on."""
    message: Annotated[str, Field(max_length=4096)]
    """What it said."""
    exit_code: int
    """Its exit code."""
    time: str | None = None
    """When it ended."""


class ModelServiceStatus(Status):
    """What serves now."""

    url: str | None = None
    """Where clients reach it over HTTP."""
    grpc: str | None = None
    """Where clients reach it over gRPC: host and port."""
    model: StoredArtifact | None = None
    """The artefact to serve, pinned: deleting its job changes nothing."""
    stable: Revision | None = None
    """The revision that gets all requests."""
    candidate: Revision | None = None
    """A newer revision that is not ready yet."""
    tuning: Serving | None = None
    """How the stable revision's pods run the model, as the first of them chose that said so."""
    replicas: int = 0
    """Pods of the stable revision, for the scale subresource."""
    selector: str = ""
    """Label selector of the stable revision's pods, for the scale subresource."""
    last_failure: LastFailure | None = None
    """The newest failure of a pod of the current revisions."""


class ModelService(Resource):
    """Serves a published model with ONNX Runtime; a bad revision never replaces a good one."""

    kind: Literal["ModelService"] = "ModelService"
    spec: ModelServiceSpec
    status: ModelServiceStatus = ModelServiceStatus()
