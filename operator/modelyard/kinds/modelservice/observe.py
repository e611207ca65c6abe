"""The status of a ModelService, from its source and its pods. Pure."""

from collections.abc import Iterator
from datetime import datetime

from modelyard.api import conditions
from modelyard.api.children import Children, Sources
from modelyard.api.conditions import Condition, false, true, unknown
from modelyard.api.labels import REVISION_LABEL
from modelyard.api.pods import PodCondition
from modelyard.api.references import StoredArtifact
from modelyard.api.resource import settled
from modelyard.api.workloads import Deployment, Service
from modelyard.kinds.endings import disrupted, stopped, termination_of, unschedulable, waits_for
from modelyard.kinds.handoff import Handoff
from modelyard.kinds.modelservice.desired import child_name, revision_of, source_of, target_of
from modelyard.kinds.modelservice.model import LastFailure, ModelService, ModelServiceStatus, Revision
from modelyard.storage.errors import ACCESS_REASONS

MODEL_RESOLVED = "ModelResolved"
ARTIFACT_VERIFIED = "ArtifactVerified"
AVAILABLE = "Available"
ROLLOUT_HEALTHY = "RolloutHealthy"
SCALED_TO_ZERO = "ScaledToZero"
ARTIFACT_REASONS = ACCESS_REASONS | {"DigestMismatch", "ArtifactMissing", "ClaimNotMounted", "DownloadFailed"}


def observe(service: ModelService, sources: Sources, children: Children, now: datetime) -> ModelServiceStatus:
    """What serves now. A candidate becomes stable once all its pods are ready, and not before."""
    source = source_of(service, sources)
    artifact = target_of(service, sources)
    status = service.status if artifact is None else _rolled(service, artifact, children, now)
    state, text = _summary(status, source, children)
    found = list(_conditions(status, source, children, state, text))
    return settled(status, service.metadata.generation, now, state, text, found)


def revisit(_service: ModelService, _now: datetime) -> float | None:
    """Nothing is due by time alone."""
    return None


def _rolled(service: ModelService, artifact: StoredArtifact, children: Children, now: datetime) -> ModelServiceStatus:
    """Stable and candidate as the Deployments show them."""
    target = _revision(service, revision_of(service, artifact), artifact.digest, children)
    stable = service.status.stable
    if stable is not None:
        stable = _revision(service, stable.revision, stable.digest, children)
    if target is not None and (target.ready_replicas >= target.replicas or target.ready_time is not None):
        stable = target.model_copy(update={"ready_time": target.ready_time or conditions.timestamp(now)})
        target = stable
    candidate = None if stable == target else target
    front = children.find(Service, service.metadata.name)
    failure = _failure(children, [each.revision for each in (candidate, stable) if each is not None])
    return service.status.model_copy(
        update={
            "url": _url(service, front) if front is not None else service.status.url,
            "model": artifact,
            "stable": stable,
            "candidate": candidate,
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
    replicas = service.spec.replicas if child.spec.replicas is None else child.spec.replicas
    before = service.status.stable
    return Revision(
        revision=revision,
        digest=digest,
        replicas=replicas,
        ready_replicas=ready,
        start_time=child.metadata.creation_timestamp,
        ready_time=before.ready_time if before is not None and before.revision == revision else None,
    )


def _url(service: ModelService, front: Service) -> str:
    for ingress in front.status.load_balancer.ingress:
        port = f":{ingress.ports[0].port}" if ingress.ports else ""
        return f"http://{ingress.ip or ingress.hostname}{port}"
    return f"http://{service.metadata.name}.{service.metadata.namespace}.svc"


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


def _summary(status: ModelServiceStatus, source: Handoff, children: Children) -> tuple[str, str]:
    """State and message."""
    stable, candidate, failure = status.stable, status.candidate, status.last_failure
    if status.model is None:
        return ("Blocked" if source.over else "Waiting"), source.message
    if stable is not None and stable.replicas == 0:
        return SCALED_TO_ZERO, "replicas is 0: no pod serves"
    if stable is None or stable.ready_replicas < stable.replicas:
        if failure is not None:
            return "Failed", f"{failure.reason}: {failure.message}"
        if stopped(children.pods):
            return "Stopped", "the pods had to leave their node; serves again when it is back"
        at = candidate or stable
        count = f"{at.ready_replicas} of {at.replicas} pods ready" if at is not None else "starting"
        return "Starting", f"{count}{waits_for(children.pods)}"
    served = f"serving {stable.digest} at {status.url}"
    if candidate is not None and failure is not None:
        served += f"; the new revision {candidate.revision} fails: {failure.reason}: {failure.message}"
    elif candidate is not None and (blocked := _blocked(candidate, children)) is not None:
        served += f"; the new revision {candidate.revision} waits: {blocked.message}"
    elif source.artifact is None:
        served += f"; kept, since {source.message}"
    return "Ready", served


def _blocked(candidate: Revision, children: Children) -> PodCondition | None:
    return unschedulable(children.labelled(REVISION_LABEL, candidate.revision))


def _conditions(
    status: ModelServiceStatus, source: Handoff, children: Children, state: str, text: str
) -> Iterator[Condition]:
    stable, failure = status.stable, status.last_failure
    missing = status.model is None and source.reason == "SourceNotFound"
    yield false(conditions.ACCEPTED, source.reason, source.message) if missing else true(conditions.ACCEPTED, "Valid")
    if status.model is None:
        yield false(MODEL_RESOLVED, source.reason, source.message)
    else:
        yield true(MODEL_RESOLVED, source.reason if source.artifact is None else "Pinned", source.message)
    blocked = unschedulable(children.pods)
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
        yield false(AVAILABLE, (blocked and blocked.reason) or reason, blocked.message if blocked else text)
    if failure is not None:
        yield false(ROLLOUT_HEALTHY, failure.reason, failure.message)
    elif status.candidate is not None and (waits := _blocked(status.candidate, children)) is not None:
        yield false(ROLLOUT_HEALTHY, waits.reason or "Unschedulable", waits.message)
    else:
        yield true(ROLLOUT_HEALTHY, "Progressing" if status.candidate else "AtRest")
    ready = state == "Ready"
    yield true(conditions.READY, "Serving", text) if ready else false(conditions.READY, state, text)
    if failure is not None or (status.model is None and source.over):
        yield true(conditions.STALLED, failure.reason if failure is not None else source.reason, text)
    elif state not in ("Ready", SCALED_TO_ZERO) or status.candidate is not None:
        yield true(conditions.RECONCILING, "RollingOut" if ready else state, text)
