"""ModelService: which model to serve and how, and what serves now."""

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, Observed, rule
from modelyard.api.containers import Accelerator, PodOptions, ResourceRequirements
from modelyard.api.quantities import Quantity
from modelyard.api.references import LocalReference, StoredArtifact
from modelyard.api.resource import Resource, Status


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


class Runtime(Model):
    """What runs the model."""

    image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    """The server image. Default: the one that the operator was installed with."""


class Protocols(Model):
    """How clients talk to the service: Open Inference Protocol v2 and TF-Serving v1, over HTTP."""

    max_payload: Quantity = "64Mi"
    """Largest request body; larger ones are answered with 413."""


class Drain(Model):
    """How a pod goes."""

    pre_stop_seconds: Annotated[int, Field(ge=0, le=600)] = 5
    """Not ready, but still serving, for so long, until every proxy has noticed."""
    grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """After that, time for requests in flight."""


class ModelServiceSpec(Model):
    """Which model to serve, with how many pods."""

    model: ModelSource
    """The model to serve."""
    runtime: Runtime = Runtime()
    """What runs the model."""
    protocols: Protocols = Protocols()
    """How clients talk to it."""
    resources: ResourceRequirements = ResourceRequirements()
    """For each pod. Threads are the CPU limit, rounded up."""
    accelerator: Accelerator | None = None
    """GPUs for each pod."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of pods."""
    drain: Drain = Drain()
    """How a pod goes."""
    pod: PodOptions = PodOptions()
    """Further options of the pods."""


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
    """When all its pods were ready for the first time."""


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
    """Where clients reach it."""
    model: StoredArtifact | None = None
    """The artefact to serve, pinned: deleting its job changes nothing."""
    stable: Revision | None = None
    """The revision that gets all requests."""
    candidate: Revision | None = None
    """A newer revision that is not ready yet."""
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
