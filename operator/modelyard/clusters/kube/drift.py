"""What is applied, and whether an object still is as it was applied. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from modelyard.api.metadata import JsonObject, KubeObject, OwnerReference
from modelyard.contract.digest import digest_of_json, short

APPLIED_ANNOTATION = "modelyard.dev/applied"
"""On a child: a digest of what was applied, so that nothing is applied twice."""


def manifest_of(child: KubeObject, owner: OwnerReference) -> JsonObject:
    """What is applied: our fields and labels, owned by ``owner``; nothing that only the server writes."""
    metadata: JsonObject = {
        "name": child.metadata.name,
        "namespace": child.metadata.namespace,
        "labels": dict(child.metadata.labels),
        "ownerReferences": [owner.model_dump(mode="json")],
    }
    return {**child.to_manifest(), "metadata": metadata}


def stamped(manifest: JsonObject) -> JsonObject:
    """The manifest with its own digest as an annotation."""
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    annotations = metadata.get("annotations")
    stamp = {APPLIED_ANNOTATION: short(digest_of_json(manifest), 16)}
    merged: dict[str, JsonValue] = {**(annotations if isinstance(annotations, dict) else {}), **stamp}
    return {**manifest, "metadata": {**metadata, "annotations": merged}}


def holds(wanted: JsonValue, found: JsonValue) -> bool:
    """Whether ``found`` says all that ``wanted`` says; what the server adds to an object does not matter.

    Lists must have equal lengths: in what Modelyard applies, the server adds to objects only. Quantities and the like
    that the server writes in another form count as changed, and are applied again.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return not wanted and found is None
        return all(holds(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if not isinstance(found, Sequence) or isinstance(found, str):
            return not wanted and found is None
        return len(wanted) == len(found) and all(map(holds, wanted, found))
    return wanted == found


def as_applied(manifest: JsonObject, found: JsonObject) -> bool:
    """Whether ``manifest``, stamped, is what was applied last, and still holds."""
    return _stamp(manifest) == _stamp(found) and holds(manifest, found)


def _stamp(body: JsonObject) -> object:
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations.get(APPLIED_ANNOTATION) if isinstance(annotations, dict) else None
