"""The PersistentVolumeClaims that a resource's storage URIs name. Pure."""

from collections.abc import Mapping

from modelyard.api.metadata import ObjectKey
from modelyard.api.references import claims_of
from modelyard.engine.kind import SourceReference


def claim_references(namespace: str, uris: Mapping[str, str | None]) -> list[SourceReference]:
    """The claim of each field's URI that is on one. They have to be there when the first child is made."""
    return [
        SourceReference(field, ObjectKey("PersistentVolumeClaim", namespace, claim), at_start=True)
        for field, uri in uris.items()
        for claim in claims_of(uri)
    ]
