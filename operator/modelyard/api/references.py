"""References from a resource to other objects in its namespace, and to stored artefacts."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from modelyard.api.base import Model, Observed
from modelyard.api.conditions import Condition
from modelyard.api.metadata import ObjectMeta
from modelyard.api.settings import Settings
from modelyard.contract.digest import DIGEST_PATTERN
from modelyard.storage.errors import StorageError
from modelyard.storage.uri import URI_PATTERN, parse

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]


def _reachable(uri: str, info: ValidationInfo) -> str:
    if uri.startswith("file://") and isinstance(info.context, Settings) and not info.context.file_uris:
        raise ValueError("file:// names a folder of one machine, which pods of a cluster do not share; write pvc://")
    return uri


Uri = Annotated[str, Field(max_length=1024, pattern=URI_PATTERN), AfterValidator(_reachable)]
"""Validated with Settings as the context, it is refused where that cluster cannot reach it."""
DigestString = Annotated[str, Field(max_length=71, pattern=DIGEST_PATTERN)]


class LocalReference(Model):
    """An object in the same namespace."""

    name: Name
    """The object's name."""


class StoredArtifact(Model):
    """A published artefact, by place and content."""

    uri: Uri
    """Where it lies: pvc://<claim>/<path>."""
    digest: DigestString
    """Its digest, as the status of the job that published it gives it."""


class PublishedStatus(Observed):
    """The artefact in a job's status."""

    uri: str
    digest: str


class PublisherStatus(Observed):
    """The part of a job's status that says whether it published an artefact."""

    conditions: list[Condition] = []
    artifact: PublishedStatus | None = None


class Publisher(Observed):
    """Any object that publishes an artefact: what a consumer may know of it."""

    kind: str
    metadata: ObjectMeta
    status: PublisherStatus = PublisherStatus()

    @model_validator(mode="before")
    @classmethod
    def _without_null_status(cls, body: object) -> object:
        return {**body, "status": body.get("status") or {}} if isinstance(body, dict) else body


def claims_of(*uris: str | None) -> list[str]:
    """The names of the PersistentVolumeClaims that these URIs need, each once, in order."""
    found: dict[str, None] = {}
    for uri in uris:
        if uri is None:
            continue
        try:
            claim = parse(uri).claim
        except StorageError:
            continue
        if claim is not None:
            found[claim] = None
    return list(found)
