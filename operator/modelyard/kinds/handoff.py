"""How one job hands its artefact to what follows: by digest, and only when it is complete. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from modelyard.api import conditions
from modelyard.api.children import Sources
from modelyard.api.references import Publisher, StoredArtifact
from modelyard.engine.kind import SourceReference

Reason = Literal[
    "SourceComplete", "SourceNotFound", "SourceNotComplete", "SourceFailed", "SourceRejected", "SourceStalled"
]
DEAD_ENDS: Mapping[str, tuple[Reason, str]] = {
    conditions.REJECTED: ("SourceRejected", "was rejected by its gates"),
    conditions.FAILED: ("SourceFailed", "failed"),
    conditions.STALLED: ("SourceStalled", "cannot go on"),
}
"""Conditions of a source that has no artefact to give until somebody acts; the first that is True tells most."""


@dataclass(frozen=True)
class Handoff:
    """What a source has to give. ``artifact`` is set exactly when ``reason`` is SourceComplete."""

    reason: Reason
    message: str
    artifact: StoredArtifact | None = None

    @property
    def over(self) -> bool:
        """Whether nothing comes of the source until somebody acts: it ended without an artefact, or cannot go on."""
        return self.reason in {"SourceFailed", "SourceRejected", "SourceStalled"}


def given(artifact: StoredArtifact) -> Handoff:
    """The hand-off of an artefact that the spec names itself."""
    return Handoff("SourceComplete", f"artefact {artifact.digest}", artifact)


def handoff(reference: SourceReference, sources: Sources) -> Handoff:
    """What the job behind ``reference`` has to give now."""
    name = f"{reference.key.kind} {reference.key.name!r}"
    body = sources.get(reference.key)
    if body is None:
        return Handoff("SourceNotFound", f"{reference.field}: {name} not found; create it in the same namespace")
    status = Publisher.model_validate(body).status
    for condition, (reason, verdict) in DEAD_ENDS.items():
        if conditions.is_true(status.conditions, condition):
            return Handoff(reason, f"{name} {verdict}{_why(status.conditions, condition)}")
    if not conditions.is_true(status.conditions, conditions.COMPLETE):
        return Handoff("SourceNotComplete", f"waiting for {name}")
    if status.artifact is None:
        return Handoff("SourceFailed", f"{name} is complete but published nothing; give it an output")
    published = status.artifact
    artifact = StoredArtifact(uri=published.uri, digest=published.digest, secret_ref=published.secret_ref)
    return Handoff("SourceComplete", f"{name} published {artifact.digest}", artifact)


def _why(found: list[conditions.Condition], kind: str) -> str:
    condition = conditions.find(found, kind)
    return f": {condition.message}" if condition is not None and condition.message else ""
