"""The life of one object without a cluster: each visit takes what is desired as what is there, then observes."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import yaml

from modelyard.api.autoscaling import HorizontalPodAutoscaler
from modelyard.api.children import Children
from modelyard.api.conditions import Condition, find
from modelyard.api.metadata import API_VERSION, JsonObject, KubeObject, ObjectKey, ObjectMeta
from modelyard.api.pods import ContainerState, ContainerStatus, Pod, PodCondition, PodStatus, Terminated
from modelyard.api.resource import Resource
from modelyard.api.settings import Settings
from modelyard.api.workloads import Deployment, Job, JobCondition, JobStatus, Service
from modelyard.contract.reports import ProgressReport, Termination
from modelyard.engine.kind import Kind
from modelyard.schema.reference import SHARED_CONDITIONS, SHARED_STATES

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64
READY = PodStatus(phase="Running", conditions=[PodCondition(type="Ready", status="True")])

R = TypeVar("R", bound=Resource)
Child = TypeVar("Child", bound=KubeObject)


class Story(Generic[R]):
    """One object, what it owns and what it refers to, from visit to visit."""

    def __init__(self, kind: Kind[R], spec: str, *sources: JsonObject, name: str = "digits") -> None:
        """``spec`` is YAML; ``sources`` are the objects that the spec refers to, as far as they exist."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind.name,
            "metadata": {"name": name, "uid": "uid-1", "generation": 1},
            "spec": yaml.safe_load(spec),
        }
        self.kind = kind
        self.resource = kind.model.model_validate(body)
        self.objects: dict[ObjectKey, KubeObject] = {}
        self.pods: list[Pod] = []
        self.progress: dict[str, ProgressReport] = {}
        self.now = NOW
        self.sources: dict[ObjectKey, JsonObject] = {}
        self.bring(*sources)

    def bring(self, *sources: JsonObject) -> None:
        """Put objects there that the spec refers to."""
        self.sources |= {KubeObject.model_validate(body).key: body for body in sources}

    def visit(self, seconds: float = 0) -> None:
        """One reconciliation, so much later. Every condition and state that it shows must be documented."""
        self.now += timedelta(seconds=seconds)
        wanted = self.kind.desired(self.resource, self.sources, self._children(), Settings())
        self.objects = {child.key: self._with_status(child) for child in wanted}
        status = self.kind.observe(self.resource, self.sources, self._children(), self.now)
        assert {found.type for found in status.conditions} <= {*SHARED_CONDITIONS, *self.kind.conditions}
        assert status.state in {*SHARED_STATES, *self.kind.states}
        self.resource = self.resource.model_copy(update={"status": status})

    def edit(self, spec: str) -> None:
        """Change fields of the spec, given as YAML."""
        changed = {**self.resource.spec.model_dump(mode="json", exclude_none=True), **yaml.safe_load(spec)}
        metadata = self.resource.metadata
        self.resource = self.resource.model_copy(
            update={
                "spec": type(self.resource.spec).model_validate(changed),
                "metadata": metadata.model_copy(update={"generation": metadata.generation + 1}),
            }
        )

    def revisit(self) -> float | None:
        return self.kind.revisit(self.resource, self.now)

    def child(self, kind: type[Child], name: str) -> Child:
        """The owned object of that type and name."""
        found = self._children().find(kind, name)
        assert found is not None, f"no {kind.__name__} {name}; there are {self.names()}"
        return found

    def names(self) -> list[str]:
        """The owned objects as ``Kind name``."""
        return [f"{key.kind} {key.name}" for key in self.objects]

    def job_says(self, name: str, condition: str, reason: str = "", **counts: int) -> None:
        """The Job gets a condition, and so many pods in each state."""
        job = self.child(Job, name)
        said = JobCondition(type=condition, status="True", reason=reason)
        status = JobStatus.model_validate({**counts, "conditions": [said]})
        self.objects[job.key] = job.model_copy(update={"status": status})

    def run(self, owner: Job | Deployment, *statuses: PodStatus) -> None:
        """Replace the pods of a Job or Deployment by these."""
        labels = owner.spec.template.metadata.labels
        kept = [pod for pod in self.pods if not pod.metadata.name.startswith(f"{owner.metadata.name}-")]
        self.pods = kept + [
            Pod(
                metadata=ObjectMeta(name=f"{owner.metadata.name}-{index}", labels=labels),
                spec=owner.spec.template.spec,
                status=status,
            )
            for index, status in enumerate(statuses)
        ]

    def condition(self, kind: str) -> Condition:
        found = find(self.resource.status.conditions, kind)
        assert found is not None, f"no {kind}; there are {self.conditions()}"
        return found

    def conditions(self) -> dict[str, str]:
        """Each condition as ``status reason``."""
        return {found.type: f"{found.status} {found.reason}" for found in self.resource.status.conditions}

    def _children(self) -> Children:
        return Children(tuple(self.objects.values()), tuple(self.pods), self.progress)

    def _with_status(self, child: KubeObject) -> KubeObject:
        old = self.objects.get(child.key)
        if isinstance(old, Job | Service | HorizontalPodAutoscaler) and type(child) is type(old):
            return child.model_copy(update={"status": old.status})
        if isinstance(old, Deployment) and isinstance(child, Deployment) and child.spec.replicas is None:
            # What is not applied stays as others have made it.
            spec = child.spec.model_copy(update={"replicas": old.spec.replicas})
            return child.model_copy(update={"spec": spec})
        return child


def ended(said: Termination | None = None, *, code: int | None = None, reason: str = "") -> PodStatus:
    """A pod that ended for good, with what it said."""
    succeeded = said is not None and said.outcome == "Succeeded"
    exit_code = code if code is not None else 0 if succeeded else 1
    terminated = Terminated(exit_code=exit_code, reason=reason, message=said.to_json() if said is not None else "")
    container = ContainerStatus(name="main", state=ContainerState(terminated=terminated))
    return PodStatus(phase="Failed" if exit_code else "Succeeded", container_statuses=[container])


def unplaced(message: str, reason: str = "Unschedulable") -> PodStatus:
    """A pod that no node can take."""
    return PodStatus(conditions=[PodCondition(type="PodScheduled", status="False", reason=reason, message=message)])


def failure(reason: str, message: str = "", **more: object) -> Termination:
    return Termination.model_validate({"outcome": "Failed", "reason": reason, "message": message, **more})


def success() -> Termination:
    """What a pod says that did its part and published nothing."""
    return Termination(outcome="Succeeded", reason="Completed", message="done")


def publication(digest: str = DIGEST, metrics: Iterable[tuple[str, str]] = (), **more: object) -> Termination:
    """What a pod says that published an artefact."""
    uri = f"pvc://models/digits/sha256-{digest[7:19]}"
    artifact = {"uri": uri, "digest": digest, "sizeBytes": 9, "metrics": dict(metrics)}
    said = {"outcome": "Succeeded", "reason": "Completed", "message": "published", "artifact": artifact}
    return Termination.model_validate({**said, **more})


def claim(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}


def code(**files: str) -> JsonObject:
    """A ConfigMap ``digits-code``; a file's dot is written as ``_``."""
    data = {name.replace("_", "."): text for name, text in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "digits-code"}, "data": dict(data)}


def publisher(kind: str, name: str, condition: str | None, digest: str = DIGEST, message: str = "") -> JsonObject:
    """A job of that kind with one condition that is True, and an artefact where that is Complete."""
    status: JsonObject = {}
    if condition is not None:
        status["conditions"] = [{"type": condition, "status": "True", "reason": "Any", "message": message}]
    if condition == "Complete":
        status["artifact"] = {"uri": f"pvc://models/{name}", "digest": digest}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": status}
