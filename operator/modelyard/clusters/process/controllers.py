"""The controllers of a process cluster: Jobs, Deployments, and garbage collection by ownerReferences."""

from collections import defaultdict
from datetime import datetime

from modelyard.api.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus
from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.workloads import Deployment, DeploymentStatus, Job, JobStatus
from modelyard.clusters.process.deployments import autoscaler_status, plan_deployment
from modelyard.clusters.process.jobs import Plan, plan_job
from modelyard.clusters.process.node import Node
from modelyard.clusters.process.store import ObjectStore


class Controllers:
    """One pass over all objects at each ``tick``; the decisions are in ``jobs`` and ``deployments``."""

    def __init__(self, store: ObjectStore, node: Node) -> None:
        self._store = store
        self._node = node

    def tick(self, now: datetime, *, create: bool) -> None:
        """Bring every Job, Deployment and autoscaler one step further, and remove what has lost its owner.

        Without ``create`` no new pod is made: what was stopped stays so.
        """
        pods: defaultdict[str, list[Pod]] = defaultdict(list)
        for pod in self._store.every(Pod):
            for owner in pod.metadata.owner_references:
                pods[owner.uid].append(pod)
        for job in list(self._store.every(Job)):
            plan, job_status = plan_job(job, pods[job.metadata.uid], now)
            self._carry_out(plan, create=create)
            self._write(job.key, job_status)
        autoscalers = list(self._store.every(HorizontalPodAutoscaler))
        for autoscaler in autoscalers:
            self._write(autoscaler.key, autoscaler_status(autoscaler))
        least = {
            (each.metadata.namespace, each.spec.scale_target_ref.name): each.spec.min_replicas for each in autoscalers
        }
        for deployment in list(self._store.every(Deployment)):
            place = (deployment.metadata.namespace, deployment.metadata.name)
            plan, status = plan_deployment(deployment, pods[deployment.metadata.uid], least.get(place, 1))
            self._carry_out(plan, create=create)
            for pod in plan.stop:
                if pod.finished:
                    self._node.remove(pod)
            self._write(deployment.key, status)
        self._collect()

    def _carry_out(self, plan: Plan, *, create: bool) -> None:
        for pod in plan.create if create else ():
            if self._store.get(pod.key) is None:  # else one of that name is still ending
                self._store.put(pod.key, pod.model_dump(mode="json", exclude_none=True))
        for pod in plan.stop:
            self._node.stop(pod)

    def _write(self, key: ObjectKey, status: JobStatus | DeploymentStatus | HorizontalPodAutoscalerStatus) -> None:
        body = self._store.get(key)
        if body is not None:
            self._store.put(key, {**body, "status": status.model_dump(mode="json", exclude_none=True)})

    def _collect(self) -> None:
        """Delete objects whose owners are all gone; a pod goes when its processes have ended."""
        things = self._store.things()
        uids = {thing.metadata.uid for thing in things}
        for thing in things:
            key, owners = thing.key, thing.metadata.owner_references
            if not owners or any(owner.uid in uids for owner in owners):
                continue
            if key.kind != "Pod":
                self._store.delete(key)
            elif (pod := self._store.typed(key, Pod)) is not None:
                if pod.finished:
                    self._node.remove(pod)
                else:
                    self._node.stop(pod)
