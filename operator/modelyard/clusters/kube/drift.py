"""Whether an object still is as it was applied. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from modelyard.api.metadata import JsonObject
from modelyard.contract.digest import digest_of_json, short

APPLIED_ANNOTATION = "modelyard.dev/applied"
"""On a child: a digest of what was applied, so that nothing is applied twice."""


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
