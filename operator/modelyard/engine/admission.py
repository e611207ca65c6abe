"""What an API server checks before it stores an object, for the process cluster and for ``validate``. Pure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectKey, ObjectMeta
from modelyard.api.resource import Resource
from modelyard.api.workloads import ConfigMap, PersistentVolumeClaim, Secret
from modelyard.engine.kind import Kind
from modelyard.engine.validation import problems

PLAIN_KINDS: Mapping[str, type[KubeObject]] = {
    "ConfigMap": ConfigMap,
    "Secret": Secret,
    "PersistentVolumeClaim": PersistentVolumeClaim,
}
"""Objects that a file may bring besides Modelyard's own."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

Lookup = Callable[[ObjectKey], JsonObject | None]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one object of a file."""

    what: str
    """The object, as far as it could be named."""
    text: str
    """The field and the remedy."""

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


def check(bodies: Sequence[JsonObject], kinds: Mapping[str, Kind[Resource]], lookup: Lookup) -> list[Problem]:
    """All that is wrong with the objects of a file, given what is stored already. Empty: they may be stored."""
    found: list[Problem] = []
    new: dict[ObjectKey, JsonObject] = {}
    for number, body in enumerate(bodies, start=1):
        what = name_of(body, number)
        wrong = check_one(body, kinds)
        if not wrong:
            key = KubeObject.model_validate(body).key
            if key in new:
                wrong = ["metadata.name: given twice in this file"]
            new[key] = body
        found.extend(Problem(what, text) for text in wrong)
    if found:
        return found
    for key, body in new.items():
        if key.kind in kinds:
            what = f"{key.kind} {key.name}"
            texts = [*_transition(kinds[key.kind], body, lookup(key)), *_references(kinds[key.kind], body, new, lookup)]
            found.extend(Problem(what, text) for text in texts)
    return found


def check_one(body: JsonObject, kinds: Mapping[str, Kind[Resource]]) -> list[str]:
    """What is wrong with one object on its own."""
    kind, version = body.get("kind"), body.get("apiVersion")
    known = {**dict.fromkeys(PLAIN_KINDS, "v1"), **dict.fromkeys(kinds, API_VERSION)}
    if not isinstance(kind, str) or kind not in known:
        return [f"kind: {kind!r} is not known here; use one of {', '.join((*kinds, *PLAIN_KINDS))}"]
    if version != known[kind]:
        return [f"apiVersion: {version!r} is not served for {kind}; write {known[kind]}"]
    try:
        json.dumps(body)
    except TypeError as error:
        return [f"holds what JSON cannot say ({error}); put dates and the like in quotes"]
    model = kinds[kind].model if kind in kinds else PLAIN_KINDS[kind]
    try:
        metadata = model.model_validate({**body, "status": {}}).metadata
    except ValidationError as error:
        return problems(error)
    return _names(metadata)


def _names(metadata: ObjectMeta) -> list[str]:
    """What is wrong with the name and the namespace (DNS-1123)."""
    return [
        f"metadata.{field}: {value!r} is no name; use lower-case letters, digits, - and ."
        for field, value in (("name", metadata.name), ("namespace", metadata.namespace))
        if _NAME.fullmatch(value) is None
    ]


def _transition(kind: Kind[Resource], body: JsonObject, stored: JsonObject | None) -> list[str]:
    """Rules that compare the new spec with the stored one."""
    if stored is None:
        return []
    try:
        old, new = kind.model.model_validate(stored), kind.model.model_validate({**body, "status": {}})
    except ValidationError:
        return []
    return [f"spec: {text}" for text in new.spec.transition_errors(old.spec)]


def _references(
    kind: Kind[Resource], body: JsonObject, new: Mapping[ObjectKey, JsonObject], lookup: Lookup
) -> list[str]:
    """References to objects that neither the file nor the store holds."""
    resource = kind.model.model_validate({**body, "status": {}})
    return [
        f"{reference.field}: {reference.key.kind} {reference.key.name!r} not found; add it or correct the name"
        for reference in kind.references(resource)
        if reference.key not in new and lookup(reference.key) is None
    ]


def name_of(body: JsonObject, number: int) -> str:
    """The object's kind and name for a message, or its number in the file."""
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{body.get('kind', 'object')} {name}" if name else f"document {number}"
