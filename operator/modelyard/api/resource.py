"""What every Modelyard resource has: metadata, and a status with conditions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import Field

from modelyard.api.base import Model, Observed, rule
from modelyard.api.conditions import Condition, settle, timestamp
from modelyard.api.metadata import API_VERSION, ObjectKey, ObjectMeta

NAME_LIMIT = 45
"""Children and pods add to the name, and each must fit into 63 characters."""
MESSAGE_LIMIT = 4096


class Status(Observed):
    """The part of a status that all kinds share."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status speaks of."""
    state: Annotated[str, Field(max_length=32)] = ""
    """One word for people, derived from the conditions. Programs read the conditions."""
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = ""
    """One line for people: what happens, or what went wrong and the remedy."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = []
    """The observations that the state is derived from."""
    start_time: Annotated[str | None, Field(max_length=32)] = None
    """When work on the object began."""
    completion_time: Annotated[str | None, Field(max_length=32)] = None
    """When a job ended, either way."""


class Resource(Model):
    """A Modelyard object. Kinds narrow ``spec`` and ``status``."""

    api_version: str = API_VERSION
    kind: str
    metadata: ObjectMeta
    spec: Model
    status: Status = Status()

    @rule(
        "size(self.metadata.name) <= 45 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name: at most 45 characters, lower-case letters, digits and -, a letter first",
    )
    def _name_fits(self) -> bool:
        name = self.metadata.name
        plain = name.replace("-", "a")
        lower = plain.isascii() and plain.isalnum() and plain == plain.lower()
        return lower and name[0].isalpha() and not name.endswith("-") and len(name) <= NAME_LIMIT

    @property
    def key(self) -> ObjectKey:
        """What names this object in the cluster."""
        return ObjectKey(self.kind, self.metadata.namespace, self.metadata.name)


S = TypeVar("S", bound=Status)


def settled(
    status: S,
    generation: int,
    now: datetime,
    state: str,
    message: str,
    found: Iterable[Condition],
    *,
    ended: bool = False,
) -> S:
    """``status`` with a new state, message and conditions; ``ended`` also sets the completion time."""
    return status.model_copy(
        update={
            "observed_generation": generation,
            "state": state,
            "message": message[:MESSAGE_LIMIT],
            "conditions": settle(status.conditions, found, generation, now),
            "completion_time": timestamp(now) if ended else status.completion_time,
        }
    )
