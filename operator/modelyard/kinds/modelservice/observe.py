"""The status of a ModelService, from its source and its pods. Pure."""

from collections.abc import Iterator
from datetime import datetime

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.conditions import Condition, false, true, unknown
from modelyard.api.labels import REVISION_LABEL
from modelyard.api.references import StoredArtifact
from modelyard.api.resource import settled
from modelyard.api.workloads import Deployment, Service
from modelyard.contract.reports import Serving
from modelyard.kinds.endings import disrupted, stopped, termination_of
from modelyard.kinds.handoff import Handoff
from modelyard.kinds.modelservice.desired import HTTPS, revision_of, source_of, target_of
from modelyard.kinds.modelservice.model import LastFailure, ModelService, ModelServiceStatus, Revision, Runtime
from modelyard.kinds.modelservice.scaling import child_name, least_replicas, scaling_active, seconds_held
from modelyard.kinds.placement import Obstacle, stuck, unplaced, waits_for
from modelyard.storage.errors import ACCESS_REASONS

MODEL_RESOLVED = "ModelResolved"
ARTIFACT_VERIFIED = "ArtifactVerified"
AVAILABLE = "Available"
ROLLOUT_HEALTHY = "RolloutHealthy"
ACCELERATED = "Accelerated"
SCALED_TO_ZERO = "ScaledToZero"
ARTIFACT_REASONS = ACCESS_REASONS | {"DigestMismatch", "ArtifactMissing", "ClaimNotMounted", "DownloadFailed"}


def observe(service: ModelService, sources: Sources, children: Children, now: datetime) -> ModelServiceStatus:
    """What serves now. A candidate becomes stable once all its pods are ready, and not before."""
    source = source_of(service, sources)
    artifact = target_of(service, sources)
    status = service.status if artifact is None else _rolled(service, artifact, children, now)
    scaling = scaling_active(service.model_copy(update={"status": status}), children)
    state, text = _summary(service, status, source, children, scaling)
    found = list(_conditions(service.spec.runtime, status, source, children, scaling, state, text))
    return settled(status, service.metadata.generation, now, state, text, found)


def revisit(service: ModelService, now: datetime) -> float | None:
    """Seconds until the autoscaler of a revision that took over may choose fewer pods."""
    scaling, stable = service.spec.autoscaling, service.status.stable
    return None if scaling is None or stable is None else seconds_held(scaling, stable, now)


def _rolled(service: ModelService, artifact: StoredArtifact, children: Children, now: datetime) -> ModelServiceStatus:
    """Stable and candidate as the Deployments show them."""
    target = _revision(service, revision_of(service, artifact), artifact.digest, children)
    stable = service.status.stable
    if stable is not None:
        stable = _revision(service, stable.revision, stable.digest, children)
    if target is not None and (target.ready_time is not None or _takes_over(service, target, children)):
        stable = target if target.ready_time is not None else _taken_over(service, target, children, now)
    scaling = service.spec.autoscaling
    if stable is not None and (scaling is None or seconds_held(scaling, stable, now) is None):
        stable = stable.model_copy(update={"min_replicas": None})
    candidate = None if stable and target and stable.revision == target.revision else target
    front = children.find(Service, service.metadata.name)
    failure = _failure(children, [each.revision for each in (candidate, stable) if each is not None])
    return service.status.model_copy(
        update={
            "url": _url(service, front) if front is not None else service.status.url,
            "grpc": _grpc(service, front) if front is not None else service.status.grpc,
            "model": artifact,
            "stable": stable,
            "candidate": candidate,
            "tuning": _tuning(service, stable, children),
            "replicas": stable.ready_replicas if stable is not None else 0,
            "selector": ",".join(f"{key}={value}" for key, value in sorted(front.spec.selector.items()))
            if front is not None
            else "",
            "last_failure": failure,
        }
    )


def _revision(service: ModelService, revision: str, digest: str, children: Children) -> Revision | None:
    """The revision as its Deployment shows it, or None while there is none."""
    child = children.find(Deployment, child_name(service, revision))
    if child is None:
        return None
    ready = sum(pod.ready for pod in children.labelled(REVISION_LABEL, revision))
    before = service.status.stable
    before = before if before is not None and before.revision == revision else None
    replicas = child.spec.replicas
    if (scaling := service.spec.autoscaling) is not None and (before is None or replicas is None):
        replicas = max(replicas or 0, least_replicas(service, scaling, revision, children))
    return Revision(
        revision=revision,
        digest=digest,
        replicas=1 if replicas is None else replicas,
        ready_replicas=ready,
        start_time=child.metadata.creation_timestamp,
        ready_time=before.ready_time if before is not None else None,
        min_replicas=before.min_replicas if before is not None else None,
    )


def _tuning(service: ModelService, stable: Revision | None, children: Children) -> Serving | None:
    """What a pod of the stable revision said; a revision's pods are alike, so that it is told once."""
    before = service.status.stable
    if stable is None:
        return None
    if service.status.tuning is not None and before is not None and before.revision == stable.revision:
        return service.status.tuning
    pods = children.labelled(REVISION_LABEL, stable.revision)
    reports = [children.progress[pod.metadata.name] for pod in pods if pod.metadata.name in children.progress]
    return next((report.serving for report in reports if report.serving is not None), None)


def _takes_over(service: ModelService, candidate: Revision, children: Children) -> bool:
    """Whether it can do what the stable revision does; an autoscaler may meanwhile have asked for more."""
    scaling = service.spec.autoscaling
    needed = candidate.replicas
    if scaling is not None:
        needed = least_replicas(service, scaling, candidate.revision, children)
    return candidate.ready_replicas >= needed


def _taken_over(service: ModelService, candidate: Revision, children: Children, now: datetime) -> Revision:
    scaling = service.spec.autoscaling
    least = 0 if scaling is None else least_replicas(service, scaling, candidate.revision, children)
    held = least if scaling is not None and least > scaling.min_replicas else None
    return candidate.model_copy(update={"ready_time": conditions.timestamp(now), "min_replicas": held})


def _url(service: ModelService, front: Service) -> str:
    scheme = "https" if front.spec.ports[0].name == HTTPS else "http"
    for ingress in front.status.load_balancer.ingress:
        port = f":{ingress.ports[0].port}" if ingress.ports else ""
        return f"{scheme}://{ingress.ip or ingress.hostname}{port}"
    return f"{scheme}://{service.metadata.name}.{service.metadata.namespace}.svc"


def _grpc(service: ModelService, front: Service) -> str | None:
    """The address of the port of that name; on a laptop each port of a Service has a local port in its place."""
    number = next((number for number, port in enumerate(front.spec.ports) if port.name == "grpc"), None)
    if number is None:
        return None
    for ingress in front.status.load_balancer.ingress:
        if number < len(ingress.ports):
            return f"{ingress.ip or ingress.hostname}:{ingress.ports[number].port}"
    return f"{service.metadata.name}.{service.metadata.namespace}.svc:{front.spec.ports[number].port}"


def _failure(children: Children, revisions: list[str]) -> LastFailure | None:
    """Why a pod that is not ready last ended; a node that went down is no failure, unless the pod had named one."""
    for revision in revisions:
        for pod in children.labelled(REVISION_LABEL, revision):
            ended = pod.terminated
            if pod.ready or ended is None or (ended.exit_code == 0 and not ended.message):
                continue
            said = termination_of(pod)
            if said is None and disrupted(pod):
                continue
            return LastFailure(
                pod=pod.metadata.name,
                reason=said.reason if said else ended.reason or "Error",
                message=said.message if said else f"the server ended with code {ended.exit_code} without a word",
                exit_code=ended.exit_code,
                time=ended.finished_at,
            )
    return None


def _summary(
    service: ModelService, status: ModelServiceStatus, source: Handoff, children: Children, scaling: Condition | None
) -> tuple[str, str]:
    """State and message."""
    stable = status.stable
    if status.model is None:
        return ("Blocked" if source.over else "Waiting"), source.message
    if stable is not None and stable.replicas == 0:
        return SCALED_TO_ZERO, _why_zero(service, stable)
    if stable is None or stable.ready_replicas < _enough(service, stable):
        return _not_serving(status, children)
    return "Ready", "; ".join(_serving(status, stable, source, children, scaling))


def _why_zero(service: ModelService, stable: Revision) -> str:
    if service.spec.autoscaling is None:
        return "replicas is 0: no pod serves"
    name = child_name(service, stable.revision)
    return f"Deployment {name} was set to 0 pods, and so its autoscaler stopped: scale it to 1"


def _not_serving(status: ModelServiceStatus, children: Children) -> tuple[str, str]:
    if (failure := status.last_failure) is not None:
        return "Failed", f"{failure.reason}: {failure.message}"
    if stopped(children.pods):
        return "Stopped", "the pods had to leave their node; serves again when it is back"
    if (blocked := unplaced(children.pods)) is not None:
        return "Pending", blocked.message
    at = status.candidate or status.stable
    count = f"{at.ready_replicas} of {at.replicas} pods ready" if at is not None else "starting"
    return "Starting", f"{count}{waits_for(children.pods)}"


def _serving(
    status: ModelServiceStatus, stable: Revision, source: Handoff, children: Children, scaling: Condition | None
) -> Iterator[str]:
    """What serves, and what is not as it should be beside that."""
    candidate, failure = status.candidate, status.last_failure
    yield f"serving {stable.digest} at {status.url}"
    if candidate is not None and failure is not None:
        yield f"the new revision {candidate.revision} fails: {failure.reason}: {failure.message}"
    elif candidate is not None and (blocked := _blocked(candidate, children)) is not None:
        yield f"the new revision {candidate.revision} waits: {blocked.message}"
    elif source.artifact is None:
        yield f"kept, since {source.message}"
    if stable.ready_replicas < stable.replicas:
        waits = _blocked(stable, children)
        count = f"{stable.ready_replicas} of {stable.replicas} pods ready"
        yield count if waits is None else f"{count}: {waits.message}"
    if scaling is not None and scaling.status == "False":
        yield f"does not scale: {scaling.message}"


def _enough(service: ModelService, stable: Revision) -> int:
    """So many pods must be ready; what an autoscaler adds to the least may still be on its way."""
    scaling = service.spec.autoscaling
    return stable.replicas if scaling is None else min(stable.replicas, scaling.min_replicas)


def _blocked(revision: Revision, children: Children) -> Obstacle | None:
    pods = children.labelled(REVISION_LABEL, revision.revision)
    return unplaced(pods) or stuck(pods)


def _conditions(
    runtime: Runtime,
    status: ModelServiceStatus,
    source: Handoff,
    children: Children,
    scaling: Condition | None,
    state: str,
    text: str,
) -> Iterator[Condition]:
    stable, failure = status.stable, status.last_failure
    yield from _of_source(status, source)
    blocked = unplaced(children.pods) or stuck(children.pods)
    if failure is not None and failure.reason in ARTIFACT_REASONS:
        yield false(ARTIFACT_VERIFIED, failure.reason, failure.message)
    elif stable is not None and stable.ready_replicas > 0:
        yield true(ARTIFACT_VERIFIED, "DigestMatches", stable.digest)
    else:
        yield unknown(ARTIFACT_VERIFIED, "NotLoadedYet")
    if stable is not None and stable.ready_replicas > 0:
        yield true(AVAILABLE, "PodsReady", f"{stable.ready_replicas} of {stable.replicas} pods ready")
    else:
        reason = SCALED_TO_ZERO if state == SCALED_TO_ZERO else "NoPodReady"
        yield false(AVAILABLE, blocked.reason if blocked else reason, blocked.message if blocked else text)
    if scaling is not None:
        yield scaling
    if "Cuda" in runtime.execution_providers:
        yield _accelerated(status.tuning)
    if failure is not None:
        yield false(ROLLOUT_HEALTHY, failure.reason, failure.message)
    elif status.candidate is not None and (waits := _blocked(status.candidate, children)) is not None:
        yield false(ROLLOUT_HEALTHY, waits.reason, waits.message)
    else:
        at = status.candidate or stable
        text_of_it = f"revision {at.revision} of {at.digest}" if at is not None else ""
        yield true(ROLLOUT_HEALTHY, "Progressing" if status.candidate else "AtRest", text_of_it)
    ready = state == "Ready"
    why = blocked.reason if state == "Pending" and blocked is not None else state
    yield true(conditions.READY, "Serving", text) if ready else false(conditions.READY, why, text)
    if failure is not None or (status.model is None and source.over):
        yield true(conditions.STALLED, failure.reason if failure is not None else source.reason, text)
    elif state not in ("Ready", SCALED_TO_ZERO) or status.candidate is not None:
        yield true(conditions.RECONCILING, "RollingOut" if ready else state, text)


def _accelerated(tuning: Serving | None) -> Condition:
    if tuning is None:
        return unknown(ACCELERATED, "NotLoadedYet")
    if tuning.provider == "Cuda":
        return true(ACCELERATED, "Cuda", "the model runs on the GPU")
    remedy = "set runtime.image to one with CUDA and accelerator to a GPU, or take Cuda out of executionProviders"
    return false(ACCELERATED, "CudaMissing", f"the model runs on the CPU, since the pods find no CUDA; {remedy}")


def _of_source(status: ModelServiceStatus, source: Handoff) -> Iterator[Condition]:
    missing = status.model is None and source.reason == "SourceNotFound"
    yield false(conditions.ACCEPTED, source.reason, source.message) if missing else true(conditions.ACCEPTED, "Valid")
    if status.model is None:
        yield false(MODEL_RESOLVED, source.reason, source.message)
    else:
        yield true(MODEL_RESOLVED, source.reason if source.artifact is None else "Pinned", source.message)
