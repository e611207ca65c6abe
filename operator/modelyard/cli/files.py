"""Objects from YAML files, and names of objects from the command line."""

import os
from pathlib import Path

import yaml

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.cli.errors import BadInput
from modelyard.engine.kind import Kind
from modelyard.kinds import KINDS

KINDS_BY_NAME: dict[str, Kind[Resource]] = {kind.name: kind for kind in KINDS}
STATE_VARIABLE = "MODELYARD_STATE"
MAX_FILE_BYTES = 16 * 1024 * 1024


def state_folder(option: Path | None) -> Path:
    """Where the process cluster keeps its state: the option, ``MODELYARD_STATE``, or ``.modelyard`` here."""
    return (option or Path(os.environ.get(STATE_VARIABLE, ".modelyard"))).absolute()


def read(path: Path) -> list[JsonObject]:
    """The objects of a YAML file, each with a namespace. Raises BadInput."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: larger than {MAX_FILE_BYTES} bytes; keep data out of manifests")
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise BadInput(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error
    bodies = [body for document in documents if document is not None for body in _items(document)]
    if not bodies:
        raise BadInput(f"{path}: no objects in it")
    return [_with_namespace(body, path) for body in bodies]


def _items(document: object) -> list[object]:
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        return list(document["items"])
    return [document]


def _with_namespace(body: object, path: Path) -> JsonObject:
    if not isinstance(body, dict):
        raise BadInput(f"{path}: a document is not an object; each needs apiVersion, kind, metadata and spec")
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        raise BadInput(f"{path}: {body.get('kind', 'a document')} has no metadata; give it metadata.name")
    return {**body, "metadata": {**metadata, "namespace": metadata.get("namespace") or "default"}}


def kind_of(word: str) -> Kind[Resource]:
    """The kind that ``word`` names: its name, plural, singular or short name. Raises BadInput."""
    for kind in KINDS:
        if word.lower() in (kind.name.lower(), kind.plural, kind.singular, kind.short_name):
            return kind
    known = ", ".join(f"{kind.singular} ({kind.short_name})" for kind in KINDS)
    raise BadInput(f"{word!r} is not a kind; use one of {known}")


def key_of(text: str, namespace: str) -> ObjectKey:
    """The object that ``kind/name`` names. Raises BadInput."""
    word, slash, name = text.partition("/")
    if not slash or not name:
        raise BadInput(f"{text!r} names no object; write kind/name, such as tjob/digits")
    return ObjectKey(kind_of(word).name, namespace, name)
