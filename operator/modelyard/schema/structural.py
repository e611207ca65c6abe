"""The structural OpenAPI v3 schema of a resource, as an API server takes it in a CustomResourceDefinition."""

from typing import Any, NoReturn

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from modelyard.api.base import Model, Rule
from modelyard.api.resource import Resource

Node = dict[str, Any]
"""One node of a schema."""

RULES = "x-kubernetes-validations"
INT_OR_STRING = "x-kubernetes-int-or-string"
KEYWORDS = (
    "description", "type", "format", "enum", "default", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", INT_OR_STRING,
    RULES, "required", "properties", "additionalProperties", "items",
)  # fmt: skip
"""All that a node may say, in the order in which it says it."""
_REMEDIES = {
    "anyOf": "a union; use optional siblings and one rule that exactly one is set",
    "exclusiveMinimum": "gt; use ge",
    "exclusiveMaximum": "lt; use le",
    "patternProperties": "a pattern for map keys; use a rule, or a list with keys",
    "propertyNames": "limits for map keys; use a rule, or a list with keys",
    "uniqueItems": "a set; use a list with x-kubernetes-list-type set",
}


class SchemaError(Exception):
    """A model says what a structural schema cannot, or leaves out what ours must say. Names the field."""


def structural_schema(model: type[Resource]) -> Node:
    """The schema of ``model``: no references, no null, every node typed, rules as CEL, defaults in the spec only.

    A spec must also bound and describe all that it holds, so that the cost of its rules is bounded. Raises
    SchemaError for the first field that does not fit.
    """
    generated = model.model_json_schema(schema_generator=_Dialect)
    definitions = generated.pop("$defs", {})
    parts = {
        name: _Walk(definitions, spec=name != "status").node(part, f"{model.__name__}.{name}")
        for name, part in generated["properties"].items()
        if name not in ("apiVersion", "kind", "metadata")
    }
    root: Node = {
        "description": _one_line(generated["description"]),
        "type": "object",
        RULES: generated.get(RULES, []),
        "required": [name for name in generated["required"] if name in parts],
        "properties": {
            "apiVersion": {"description": "The API's group and version.", "type": "string"},
            "kind": {"description": "The kind of the object.", "type": "string"},
            "metadata": {"type": "object"},
            **parts,
        },
    }
    return {keyword: value for keyword, value in root.items() if value}


class _Dialect(GenerateJsonSchema):
    """Pydantic's JSON schema, with what a model knows beyond it: its rules; and absent fields instead of null ones."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        node = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, Model) and model.validation_rules:
            node[RULES] = [_validation(rule) for rule in model.validation_rules]
        return node

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        """Nothing: fields stay in the order in which the model has them."""
        return value

    def encode_default(self, dft: object) -> object:
        """Only what differs from the nested defaults, since the API server fills those in."""
        return TypeAdapter[object](object).dump_python(dft, mode="json", by_alias=True, exclude_defaults=True)


class _Walk:
    """Turns the nodes of one part of a resource into structural ones."""

    def __init__(self, definitions: dict[str, Node], *, spec: bool) -> None:
        self._definitions = definitions
        self._spec = spec

    def node(self, node: Node, path: str, above: tuple[str, ...] = ()) -> Node:
        """``node`` with references inlined and keywords in order. Raises SchemaError."""
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/$defs/")
            if name in above:
                _refuse(path, "a model that contains itself")
            here = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
            return self.node({**self._definitions[name], **here}, path, (*above, name))
        found = self._plain(node, path)
        if "items" in found:
            found["items"] = self.node(found["items"], f"{path}[]", above)
        if "additionalProperties" in found:
            found["additionalProperties"] = self.node(found["additionalProperties"], f"{path}.*", above)
        if "properties" in found:
            found["properties"] = {
                name: self._property(part, f"{path}.{name}", above) for name, part in found["properties"].items()
            }
        if not self._spec or _says_nothing(found):
            found.pop("default", None)
        ordered = {keyword: found[keyword] for keyword in KEYWORDS if keyword in found}
        return _int_or_string(ordered) if INT_OR_STRING in ordered else ordered

    def _property(self, part: Node, path: str, above: tuple[str, ...]) -> Node:
        found = self.node(part, path, above)
        if self._spec and "description" not in found:
            raise SchemaError(f"{path}: no description; write a docstring below the field")
        return found

    def _plain(self, node: Node, path: str) -> Node:
        """The node's own keywords, in the API server's dialect."""
        found = {keyword: value for keyword, value in node.items() if keyword not in ("title", "const")}
        if "const" in node:
            found["enum"] = [node["const"]]
        if isinstance(found.get("additionalProperties"), bool):
            del found["additionalProperties"]
        self._check(found, path)
        if "description" in found:
            found["description"] = _one_line(found["description"])
        if found["type"] == "integer":
            found["format"] = _integer_format(found)
        return found

    def _check(self, node: Node, path: str) -> None:
        for keyword in node:
            if keyword not in KEYWORDS:
                _refuse(path, _REMEDIES.get(keyword, keyword))
        match node.get("type"):
            case "string" if self._spec and "maxLength" not in node and "enum" not in node:
                raise SchemaError(f"{path}: unbounded string; give it max_length")
            case "array" if self._spec and "maxItems" not in node:
                raise SchemaError(f"{path}: unbounded list; give it max_length")
            case "object" if self._spec and "additionalProperties" in node and "maxProperties" not in node:
                raise SchemaError(f"{path}: unbounded map; give it max_length")
            case "string" | "array" | "object" | "integer" | "boolean":
                return
            case "number":
                _refuse(path, "a float; use a decimal string, or an integer with the unit in its name")
            case _:
                _refuse(path, "a value of any type; give the field one type")


def _refuse(path: str, what: str) -> NoReturn:
    raise SchemaError(f"{path}: a structural schema cannot say this: {what}")


def _validation(rule: Rule) -> Node:
    return {"rule": rule.cel, "message": rule.message}


def _int_or_string(node: Node) -> Node:
    """A quantity, which has no one type: the only union that a structural schema can say."""
    rest = {keyword: value for keyword, value in node.items() if keyword != "type"}
    return {"anyOf": [{"type": "integer"}, {"type": "string"}], **rest}


def _integer_format(node: Node) -> str:
    bounded = "minimum" in node and "maximum" in node
    return "int32" if bounded and node["minimum"] >= -(2**31) and node["maximum"] < 2**31 else "int64"


def _says_nothing(node: Node) -> bool:
    """Whether the default only says that an absent field is absent; ``{}`` counts where a field below has a default."""
    default = node.get("default")
    below = any("default" in part for part in node.get("properties", {}).values())
    return default is None or (default in ([], {}) and not below)


def _one_line(text: str) -> str:
    return " ".join(text.split())
