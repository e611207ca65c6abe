"""The reference page of a kind, as Markdown: its fields, rules, conditions and states."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelyard.api import conditions
from modelyard.api.metadata import API_VERSION
from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind
from modelyard.schema.crd import CATEGORY
from modelyard.schema.structural import RULES, Node, structural_schema

SHARED_CONDITIONS = {
    conditions.ACCEPTED: "The spec can be read, and what it refers to exists. False names the field and the remedy.",
    conditions.RECONCILING: "The operator works on it. Absent at rest.",
    conditions.STALLED: "It goes no further by itself; the reason and the remedy are in the message. Absent otherwise.",
}
"""What each condition means when it is True, for those that the engine gives to every kind."""
SHARED_STATES = {
    "Refused": "The spec cannot be read; correct it.",
    "Blocked": "It cannot go on until something else changes, which the message names.",
}


@dataclass(frozen=True)
class _Field:
    path: str
    """``[]`` at its end marks the items of a list, ``.*`` the values of a map; empty at the root."""
    node: Node
    required: bool = True

    @property
    def named(self) -> bool:
        return not self.path.endswith(("[]", ".*"))


def reference(kind: Kind[Resource]) -> str:
    """The page, generated from the same schema as the CustomResourceDefinition. Raises SchemaError."""
    schema = structural_schema(kind.model)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    names = f"`kubectl get {kind.plural}`, short `{kind.short_name}`, or `{CATEGORY}` for all kinds"
    lines = [
        f"# {kind.name}",
        schema["description"],
        f"`apiVersion: {API_VERSION}`, `kind: {kind.name}`; {names}.",
        f"## spec\n\n{spec['description']}",
        _table(
            ("Field", "Type", "Default", ""),
            [
                (_code(field.path), _type(field.node), _default(field), field.node["description"])
                for field in _fields(spec)
                if field.named
            ],
        ),
        "## Rules",
        "\n".join(f"- {line}" for line in _rules(schema)),
        f"## status\n\n{status['description']}",
        _table(
            ("Field", "Type", ""),
            [
                (_code(field.path), _type(field.node), field.node.get("description", ""))
                for field in _fields(status)
                if field.named
            ],
        ),
        "### Conditions",
        _meanings("Condition", {**SHARED_CONDITIONS, **kind.conditions}),
        "### States",
        _meanings("State", {**SHARED_STATES, **kind.states}),
    ]
    return "\n\n".join(lines) + "\n"


def _fields(node: Node, path: str = "") -> Iterator[_Field]:
    """All nodes below ``node``, depth first."""
    for name, part in node.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield _Field(below, part, name in node.get("required", ()))
        yield from _fields(part, below)
    for keyword, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if keyword in node:
            yield _Field(path + mark, node[keyword])
            yield from _fields(node[keyword], path + mark)


def _rules(schema: Node) -> Iterator[str]:
    """The message of each rule, after the path of the field that it belongs to."""
    for field in (_Field("", schema), *_fields(schema)):
        if field.path.startswith("status."):
            continue  # nobody but the operator writes there
        for rule in field.node.get(RULES, ()):
            yield f"{_code(field.path)}: {rule['message']}" if field.path else rule["message"]


def _type(node: Node) -> str:
    match node.get("type", "quantity"):
        case "array":
            return f"list of {_type(node['items'])}"
        case "object" if "additionalProperties" in node:
            return f"map of {_type(node['additionalProperties'])}"
        case "integer" if "minimum" in node or "maximum" in node:
            return f"integer, {_range(node)}"
        case "string" if "enum" in node:
            return "one of " + ", ".join(_code(value) for value in node["enum"])
        case plain:
            return str(plain)


def _range(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"


def _default(field: _Field) -> str:
    default = field.node.get("default")
    match default:
        case _ if field.required:
            return "required"
        case None | "" | dict():
            return ""
        case list():
            return ", ".join(_code(_short(item)) for item in default)
        case _:
            return _code(_short(default))


def _short(value: object) -> str:
    """A default as YAML has it; of an object only which fields are set."""
    if isinstance(value, dict):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meanings(what: str, meanings: Mapping[str, str]) -> str:
    return _table((what, ""), [(_code(name), meaning) for name, meaning in meanings.items()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join((_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)))


def _row(cells: Iterable[str]) -> str:
    """The cells so that Markdown shows them as they are."""
    return f"| {' | '.join(cell.replace('|', '&#124;').replace('<', '&lt;') for cell in cells)} |"


def _code(text: str) -> str:
    return f"`{text}`"
