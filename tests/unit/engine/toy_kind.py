"""A small kind of the tests' own: so many ConfigMaps with a text, which may come from another ConfigMap."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import yaml
from pydantic import Field

from modelyard.api import conditions
from modelyard.api.base import Model
from modelyard.api.children import Children, Sources
from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectKey, ObjectMeta
from modelyard.api.resource import Resource, Status, settled
from modelyard.api.settings import Settings
from modelyard.api.workloads import ConfigMap
from modelyard.engine.kind import Kind, SourceReference

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class ToySpec(Model):
    copies: Annotated[int, Field(ge=0, le=9)] = 1
    text: Annotated[str, Field(max_length=63)] = ""
    source: str | None = None


class ToyStatus(Status):
    seen: int = 0


class Toy(Resource):
    kind: Literal["Toy"] = "Toy"
    spec: ToySpec
    status: ToyStatus = ToyStatus()


def references(toy: Toy) -> list[SourceReference]:
    name = toy.spec.source
    return [] if name is None else [SourceReference("spec.source", ObjectKey("ConfigMap", "default", name))]


def desired(toy: Toy, sources: Sources, children: Children, settings: Settings) -> Sequence[KubeObject]:
    if toy.spec.text == "broken":
        raise RuntimeError("a bug that only this object meets")
    text = toy.spec.text
    for found in sources.values():
        text = ConfigMap.model_validate(found).data["text"]
    return [
        ConfigMap(metadata=ObjectMeta(name=f"{toy.metadata.name}-{number}"), data={"text": text})
        for number in range(toy.spec.copies)
    ]


def observe(toy: Toy, sources: Sources, children: Children, now: datetime) -> ToyStatus:
    status = toy.status.model_copy(update={"seen": len(children.objects)})
    ready = [conditions.true(conditions.READY, "AllThere")]
    return settled(status, toy.metadata.generation, now, "Ready", "all there", ready)


def revisit(toy: Toy, now: datetime) -> float | None:
    return 60.0 if toy.spec.text == "again" else None


KIND: Kind[Toy] = Kind(
    name="Toy",
    plural="toys",
    singular="toy",
    short_name="toy",
    model=Toy,
    references=references,
    desired=desired,
    observe=observe,
    revisit=revisit,
    child_types=(ConfigMap,),
    columns=(),
    conditions={},
    states={},
    alarms=frozenset(),
)


def toy(name: str, spec: str = "{}") -> JsonObject:
    """The object as a user writes it, with the spec as YAML."""
    return {"apiVersion": API_VERSION, "kind": "Toy", "metadata": {"name": name}, "spec": yaml.safe_load(spec)}


def config_map(name: str, text: str) -> JsonObject:
    """A ConfigMap as a user writes it."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
