"""What an object owns, as the cluster shows it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from modelyard.api.labels import ATTEMPT_LABEL
from modelyard.api.metadata import JsonObject, KubeObject, ObjectKey
from modelyard.api.pods import Pod
from modelyard.contract.reports import ProgressReport

Child = TypeVar("Child", bound=KubeObject)

Sources = Mapping[ObjectKey, JsonObject]
"""The objects that a resource refers to, as far as they exist."""


@dataclass(frozen=True)
class Children:
    """The owned objects, the pods of those, and what the pods reported."""

    objects: tuple[KubeObject, ...] = ()
    pods: tuple[Pod, ...] = ()
    progress: Mapping[str, ProgressReport] = field(default_factory=dict)
    """The newest report of each pod that sent one, by pod name."""

    def find(self, kind: type[Child], name: str) -> Child | None:
        """The owned object of that type and name, or None."""
        return next((each for each in self.objects if isinstance(each, kind) and each.metadata.name == name), None)

    def labelled(self, label: str, value: str) -> list[Pod]:
        """The pods with that label, by name."""
        return sorted(
            (pod for pod in self.pods if pod.metadata.labels.get(label) == value), key=lambda pod: pod.metadata.name
        )

    def of_attempt(self, attempt: int) -> list[Pod]:
        """The pods of one attempt, by name and so by index."""
        return self.labelled(ATTEMPT_LABEL, str(attempt))
