"""The CustomResourceDefinition of a kind."""

import json
from collections.abc import Sequence
from typing import Any

from modelyard.api.metadata import API_VERSION, GROUP
from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind, PrinterColumn, ScalePaths
from modelyard.schema.structural import Node, structural_schema

CATEGORY = "modelyard"
UNSEEN = {"observedGeneration": 0, "state": "Waiting", "message": "no operator has seen it yet"}
"""The status that the API server shows until there is one. The generation keeps kstatus from calling it done."""


def crd(kind: Kind[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition, as JSON. Raises SchemaError when the model cannot be said in one."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": API_VERSION.removeprefix(f"{GROUP}/"),
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(kind.columns),
                    "subresources": {"status": {}, **_scale(kind.scale)},
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Kind[Resource]) -> Node:
    """The model's schema, with a status for objects that have none."""
    schema = _told_in_lists(structural_schema(kind.model))
    properties = schema["properties"]
    return {**schema, "properties": {**properties, "status": {"default": UNSEEN, **properties["status"]}}}


def _told_in_lists(node: Node, *, listed: bool = False) -> Node:
    """The schema with defaults inside list items told, and not filled in.

    Tools that apply compare a list as a whole, and would see a difference for ever.
    """
    found = {keyword: value for keyword, value in node.items() if not (listed and keyword == "default")}
    if listed and "default" in node and "description" in node:
        found["description"] = f"{node['description']} Default: {json.dumps(node['default'])}."
    if "items" in found:
        found["items"] = _told_in_lists(found["items"], listed=True)
    if "properties" in found:
        found["properties"] = {name: _told_in_lists(part, listed=listed) for name, part in found["properties"].items()}
    return found


def _columns(columns: Sequence[PrinterColumn]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.json_path,
            **({"priority": column.priority} if column.priority else {}),
        }
        for column in columns
    ]


def _scale(paths: ScalePaths | None) -> dict[str, Any]:
    if paths is None:
        return {}
    return {
        "scale": {
            "specReplicasPath": paths.spec_replicas,
            "statusReplicasPath": paths.status_replicas,
            "labelSelectorPath": paths.label_selector,
        }
    }
