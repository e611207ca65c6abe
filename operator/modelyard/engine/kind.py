"""What the engine must know of a kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from modelyard.api.children import Children, Sources
from modelyard.api.metadata import KubeObject, ObjectKey
from modelyard.api.resource import Resource, Status
from modelyard.api.settings import Settings
from modelyard.api.workloads import ChildType

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class PrinterColumn:
    """A column of ``kubectl get``; ``priority`` 1 is shown only with ``-o wide``."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class ScalePaths:
    """Where the scale subresource finds replicas and the label selector."""

    spec_replicas: str
    status_replicas: str
    label_selector: str


@dataclass(frozen=True)
class SourceReference:
    """An object that a resource refers to, and the field that does so."""

    field: str
    key: ObjectKey
    copy: ObjectKey | None = None
    """The child that holds a copy of it. While that is there, the original is not looked at."""
    at_start: bool = False
    """It only has to be there when the first child is made."""

    def needed(self, children: Children) -> bool:
        """Whether it has to be looked at."""
        if self.at_start:
            return not children.objects
        return self.copy is None or all(child.key != self.copy for child in children.objects)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """One kind: its names, its model, and the pure functions that decide for it."""

    name: str
    plural: str
    singular: str
    short_name: str
    model: type[R]
    references: Callable[[R], Sequence[SourceReference]]
    """The objects that ``desired`` and ``observe`` want to see."""
    desired: Callable[[R, Sources, Children, Settings], Sequence[KubeObject]]
    """All children that should exist now. Pure."""
    observe: Callable[[R, Sources, Children, datetime], Status]
    """The status, from what is seen. Pure: called again with the same values it returns the same."""
    revisit: Callable[[R, datetime], float | None]
    """Seconds until something is due by time alone, or None."""
    child_types: tuple[ChildType, ...]
    columns: tuple[PrinterColumn, ...]
    conditions: Mapping[str, str]
    """What each condition of the kind's own means when it is True."""
    states: Mapping[str, str]
    """What each state of the kind's own means."""
    alarms: frozenset[str]
    """The states, and the conditions when False, of which somebody should hear: Warnings in the object's history."""
    scale: ScalePaths | None = None
