"""References from a resource to other objects in its namespace, and to stored artefacts."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from modelyard.api.base import Model, Observed, rule
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


class Location(Model):
    """A place in storage, and the key to it."""

    uri: Uri | None = None
    """Where it is."""
    secret_ref: LocalReference | None = None
    """The Secret with the keys: for s3:// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where they are needed,
    AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL; for gs:// GOOGLE_SERVICE_ACCOUNT_KEY; for az://
    AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY. It is mounted into the pod. Default: the pod's own
    identity."""

    @rule(
        "!has(self.secretRef) || (has(self.uri) && self.uri.matches('^(s3|gs|az)://'))",
        "secretRef is for s3://, gs:// and az:// only: a claim is mounted and needs no keys",
    )
    def _secret_is_for_object_stores(self) -> bool:
        return self.secret_ref is None or (self.uri is not None and parse(self.uri).in_object_store)

    @property
    def secret(self) -> str | None:
        """The Secret's name."""
        return None if self.secret_ref is None else self.secret_ref.name


class Folder(Location):
    """A folder in storage, and the key to it."""

    uri: Uri
    """A folder: pvc://<claim>/<path>, or s3://, gs:// or az:// with <bucket>/<path>."""


class StoredArtifact(Location):
    """A published artefact, by place and content."""

    uri: Uri
    """Where it lies: pvc://<claim>/<path>, or s3://, gs:// or az:// with <bucket>/<path>."""
    digest: DigestString
    """Its digest, as the status of the job that published it gives it."""


class PublishedStatus(Observed):
    """The artefact in a job's status."""

    uri: str
    digest: str
    secret_ref: LocalReference | None = None


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


def secrets_of(*places: Location | None) -> list[str]:
    """The names of the Secrets that these places need, each once, in order."""
    return list(dict.fromkeys(place.secret for place in places if place is not None and place.secret is not None))
