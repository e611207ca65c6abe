"""The CRDs as the API server's structural rules want them, node by node."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind
from modelyard.kinds import KINDS
from modelyard.schema.crd import UNSEEN, crd
from modelyard.schema.structural import KEYWORDS, structural_schema

Node = dict[str, Any]
JSON_TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
UNKNOWN: Node = {"type": "object"}
"""Where a value has no place: no plain value fits it."""
API_KEYWORDS = {
    "description", "type", "format", "enum", "default", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties",
    "maxProperties", "required", "properties", "additionalProperties", "items", "nullable", "title", "example",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations",
    "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip
"""What apiextensions.k8s.io/v1 JSONSchemaProps may say in a structural schema, outside of value validations."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind[Resource]:
    found: Kind[Resource] = request.param
    return found


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, part in node.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    for keyword, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if keyword in node:
            yield from nodes(node[keyword], path + mark)


def defaulted(node: Node, value: Any) -> Any:
    """``value`` with the defaults below it, as the API server fills them in."""
    if isinstance(value, list):
        return [defaulted(node["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    parts = node.get("properties", {})
    filled = {name: part["default"] for name, part in parts.items() if "default" in part} | value
    return {
        name: defaulted(parts.get(name, node.get("additionalProperties", {})), part) for name, part in filled.items()
    }


def types(node: Node) -> set[str]:
    """The node's type; quantities have two."""
    if node.get("x-kubernetes-int-or-string") is True and node["anyOf"] == [{"type": "integer"}, {"type": "string"}]:
        return {"integer", "string"}
    return {node.get("type", "none")}


def problems(node: Node, value: Any, path: str = "") -> Iterator[str]:
    """What is wrong with ``value``."""
    if type(value) not in {JSON_TYPES[each] for each in types(node)}:
        yield f"{path}: {value!r} is no {' or '.join(types(node))}"
    elif isinstance(value, dict):
        yield from (f"{path}.{name}: missing" for name in node.get("required", ()) if name not in value)
        parts = node.get("properties", {})
        for name, part in value.items():
            yield from problems(parts.get(name, node.get("additionalProperties", UNKNOWN)), part, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(node["items"], item, f"{path}[{index}]")
    elif not valid(node, value):
        yield f"{path}: {value!r} is out of bounds"


def valid(node: Node, value: Any) -> bool:
    """Whether a plain value is within its bounds."""
    if isinstance(value, int):
        return bool(node.get("minimum", value) <= value <= node.get("maximum", value))
    fits = re.search(node.get("pattern", ""), value) and len(value) <= node.get("maxLength", len(value))
    return bool(fits) and value in node.get("enum", [value])


def _keywords(node: Node) -> set[str]:
    return set(node) - ({"anyOf"} if len(types(node)) > 1 else set())


def test_every_node_is_typed_and_says_only_what_the_api_server_knows(kind: Kind[Resource]) -> None:
    wrong = [
        (path, sorted(_keywords(node) - API_KEYWORDS))
        for path, node in nodes(structural_schema(kind.model))
        if _keywords(node) - API_KEYWORDS or not types(node) <= set(JSON_TYPES)
    ]
    assert (wrong, set(KEYWORDS) - API_KEYWORDS) == ([], set())


def test_a_node_has_properties_or_is_a_map_and_a_list_has_items(kind: Kind[Resource]) -> None:
    for path, node in nodes(structural_schema(kind.model)):
        assert not ("properties" in node and "additionalProperties" in node), path
        assert ("items" in node) == (types(node) == {"array"}), path
        assert set(node.get("required", ())) <= set(node.get("properties", {})), path


def test_metadata_is_left_to_the_api_server(kind: Kind[Resource]) -> None:
    assert structural_schema(kind.model)["properties"]["metadata"] == {"type": "object"}


def test_every_default_fits_its_own_schema(kind: Kind[Resource]) -> None:
    found = [
        problem
        for path, node in nodes(structural_schema(kind.model))
        if "default" in node
        for problem in problems(node, defaulted(node, node["default"]), path)
    ]
    assert found == []


def test_a_status_has_no_defaults(kind: Kind[Resource]) -> None:
    status = structural_schema(kind.model)["properties"]["status"]
    assert [path for path, node in nodes(status) if "default" in node] == []


def test_an_object_without_a_status_shows_a_documented_state(kind: Kind[Resource]) -> None:
    [version] = crd(kind)["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert (status["default"], list(problems(status, UNSEEN))) == (UNSEEN, [])
    assert UNSEEN["state"] in kind.states


def test_the_keys_of_a_list_map_are_required_or_have_a_default(kind: Kind[Resource]) -> None:
    for path, node in nodes(structural_schema(kind.model)):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            items = node["items"]
            assert key in items["required"] or "default" in items["properties"][key], path


def test_every_rule_has_a_message_and_reads_only_fields_that_are_there(kind: Kind[Resource]) -> None:
    """A field that may be absent is read only behind ``has``: the API server refuses the object otherwise."""
    for path, node in nodes(structural_schema(kind.model)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            for read in re.finditer(r"\bself((?:\.\w+)+)(\()?", rule["rule"]):
                names = read[1].strip(".").split(".")
                names = names[:-1] if read[2] else names
                assert names[:1] == ["metadata"] or absent(node, names, rule["rule"]) is None, rule


def absent(node: Node, names: list[str], rule: str) -> str | None:
    """The first of ``names`` that no property has, or that may be absent while the rule reads it."""
    for count, name in enumerate(names, start=1):
        if name not in node.get("properties", {}):
            return name
        always = name in node.get("required", ()) or "default" in node["properties"][name]
        if not always and f"has(self.{'.'.join(names[:count])})" not in rule:
            return name
        node = node["properties"][name]
    return None


def test_a_printer_column_shows_a_field_of_its_type(kind: Kind[Resource]) -> None:
    schema = structural_schema(kind.model)
    for column in kind.columns:
        if column.json_path == ".metadata.creationTimestamp":
            continue
        node = dict(nodes(schema))[column.json_path]
        assert (column.json_path, node["type"]) == (column.json_path, column.type)


def test_a_crd_has_the_names_that_users_type() -> None:
    assert crd(KINDS[0])["spec"]["names"] == {
        "kind": "TrainingJob",
        "listKind": "TrainingJobList",
        "plural": "trainingjobs",
        "singular": "trainingjob",
        "shortNames": ["tjob"],
        "categories": ["modelyard"],
    }
    assert [crd(kind)["metadata"]["name"] for kind in KINDS] == [
        "trainingjobs.modelyard.dev",
        "compressionjobs.modelyard.dev",
        "modelservices.modelyard.dev",
    ]


def test_only_what_can_be_scaled_has_the_scale_subresource() -> None:
    assert [crd(kind)["spec"]["versions"][0]["subresources"] for kind in KINDS] == [
        {"status": {}},
        {"status": {}},
        {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    ]


def test_the_minimal_objects_of_a_user_fit_and_are_defaulted_as_the_models_do(kind: Kind[Resource]) -> None:
    minimal = {
        "TrainingJob": "{entrypoint: {module: train}}",
        "CompressionJob": "{source: {trainingJob: {name: a}}, output: {uri: 'pvc://models/a'}}",
        "ModelService": "{model: {trainingJob: {name: a}}}",
    }
    body = {"metadata": {"name": "a"}, "spec": yaml.safe_load(minimal[kind.name])}
    spec = defaulted(structural_schema(kind.model)["properties"]["spec"], body["spec"])
    assert list(problems(structural_schema(kind.model)["properties"]["spec"], spec)) == []
    assert kind.model.model_validate({**body, "spec": spec}) == kind.model.model_validate(body)
