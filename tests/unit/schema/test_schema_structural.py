from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from modelyard.api.base import Model, Observed, rule
from modelyard.api.resource import Resource
from modelyard.schema.structural import SchemaError, structural_schema

Name = Annotated[str, Field(max_length=63)]


class Limits(Model):
    """Limits of the pods."""

    cpu: Annotated[int, Field(ge=1, le=64)] = 2
    """Cores."""
    bytes: Annotated[int | None, Field(ge=1)] = None
    """Memory."""


class Part(Model):
    """One part."""

    name: Name
    """Its
    name."""
    kind: Literal["Only"] = "Only"
    """Its kind."""

    @rule("self.name != 'no'", "a part cannot be called no")
    def _named(self) -> bool:
        return self.name != "no"


class WidgetSpec(Model):
    """What a widget is."""

    size: Annotated[int, Field(ge=0)] = 0
    """How big."""
    colours: Annotated[list[Literal["Red", "Blue"]], Field(max_length=2)] = ["Red"]
    """In what colours."""
    parts: Annotated[list[Part], Field(max_length=4)] = []
    """Made of what."""
    labels: Annotated[dict[str, Name], Field(max_length=4)] = {}
    """Called what."""
    limits: Limits = Limits()
    """Within which limits."""
    strict: Limits = Limits(cpu=1)
    """The same, with another default."""
    main: Part | None = None
    """The main part."""


class Widget(Resource):
    """A widget."""

    spec: WidgetSpec


def spec_of(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """The schema of the only field of a spec."""
    fields = {
        "__annotations__": {"field": annotation},
        "field": Field(default, description="A field."),
        "__module__": __name__,
    }
    spec = type("Spec", (Model,), fields)
    resource = type(
        "Thing", (Resource,), {"__annotations__": {"spec": spec}, "__doc__": "A thing.", "__module__": __name__}
    )
    found: dict[str, Any] = structural_schema(resource)["properties"]["spec"]["properties"]["field"]
    return found


def test_a_spec_becomes_a_structural_schema() -> None:
    limits = {
        "cpu": {
            "description": "Cores.",
            "type": "integer",
            "format": "int32",
            "default": 2,
            "minimum": 1,
            "maximum": 64,
        },
        "bytes": {"description": "Memory.", "type": "integer", "format": "int64", "minimum": 1},
    }
    part = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.name != 'no'", "message": "a part cannot be called no"}],
        "required": ["name"],
        "properties": {
            "name": {"description": "Its name.", "type": "string", "maxLength": 63},
            "kind": {"description": "Its kind.", "type": "string", "enum": ["Only"], "default": "Only"},
        },
    }
    assert structural_schema(Widget)["properties"]["spec"] == {
        "description": "What a widget is.",
        "type": "object",
        "properties": {
            "size": {"description": "How big.", "type": "integer", "format": "int64", "default": 0, "minimum": 0},
            "colours": {
                "description": "In what colours.",
                "type": "array",
                "default": ["Red"],
                "maxItems": 2,
                "items": {"type": "string", "enum": ["Red", "Blue"]},
            },
            "parts": {
                "description": "Made of what.",
                "type": "array",
                "maxItems": 4,
                "items": {"description": "One part.", **part},
            },
            "labels": {
                "description": "Called what.",
                "type": "object",
                "maxProperties": 4,
                "additionalProperties": {"type": "string", "maxLength": 63},
            },
            "limits": {
                "description": "Within which limits.",
                "type": "object",
                "default": {},
                "properties": limits,
            },
            "strict": {
                "description": "The same, with another default.",
                "type": "object",
                "default": {"cpu": 1},
                "properties": limits,
            },
            "main": {"description": "The main part.", **part},
        },
    }


def test_the_root_holds_the_rule_about_the_name_and_asks_for_a_spec() -> None:
    schema = structural_schema(Widget)
    (rule_of_name,) = schema["x-kubernetes-validations"]
    assert rule_of_name["rule"].startswith("size(self.metadata.name) <= 45 && self.metadata.name.matches('^[a-z]")
    assert (schema["description"], schema["required"], list(schema["properties"])) == (
        "A widget.",
        ["spec"],
        ["apiVersion", "kind", "metadata", "spec", "status"],
    )


class Left(Observed):
    """One side."""


class Right(Observed):
    """The other side."""


class Nested(Model):
    """A part of itself."""

    below: Annotated[list["Nested"], Field(max_length=2)] = []
    """More."""


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Left | Right, "a structural schema cannot say this: a union; use optional siblings and one rule"),
        (float, "a structural schema cannot say this: a float; use a decimal string"),
        (Annotated[int, Field(gt=0)], "a structural schema cannot say this: gt; use ge"),
        (Annotated[int, Field(lt=9)], "a structural schema cannot say this: lt; use le"),
        (Annotated[Any, Field()], "a structural schema cannot say this: a value of any type"),
        (Annotated[dict[Annotated[str, Field(max_length=9)], int], Field(max_length=9)], "limits for map keys"),
        (Annotated[dict[Annotated[str, Field(pattern="^a")], int], Field(max_length=9)], "a pattern for map keys"),
        (Annotated[set[int], Field(max_length=9)], "a set; use a list with x-kubernetes-list-type set"),
        (Nested, "a model that contains itself"),
        (str, "unbounded string; give it max_length"),
        (Annotated[list[str], Field(max_length=9)], "unbounded string; give it max_length"),
        (list[int], "unbounded list; give it max_length"),
        (dict[str, int], "unbounded map; give it max_length"),
    ],
)
def test_what_a_spec_cannot_say_is_refused_with_its_field(annotation: object, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        spec_of(annotation)
    assert str(caught.value).startswith("Thing.spec.field")
    assert message in str(caught.value)


def test_a_field_without_a_docstring_is_refused() -> None:
    class Bare(Model):
        field: int

    class Thing(Resource):
        """A thing."""

        spec: Bare

    with pytest.raises(SchemaError, match=r"^Thing\.spec\.field: no description; write a docstring below the field$"):
        structural_schema(Thing)


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (int | None, None, None),
        (Annotated[list[int], Field(max_length=2)], [], None),
        (Annotated[dict[str, int], Field(max_length=2)], {}, None),
        (Annotated[str, Field(max_length=2)], "", ""),
        (bool, False, False),
        (Annotated[list[Limits], Field(max_length=2)], [Limits(cpu=3), Limits()], [{"cpu": 3}, {}]),
    ],
)
def test_a_default_is_said_unless_it_only_says_that_nothing_is_there(
    annotation: object, default: object, expected: object
) -> None:
    assert spec_of(annotation, default).get("default") == expected


def test_a_status_may_leave_bounds_and_descriptions_out_and_has_no_defaults() -> None:
    status = structural_schema(Widget)["properties"]["status"]["properties"]
    assert status["startTime"] == {"description": "When work on the object began.", "type": "string", "maxLength": 32}
    assert status["state"].get("default") is None
