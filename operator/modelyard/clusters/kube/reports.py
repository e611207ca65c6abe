"""The newest progress report of each pod, and when a new one is worth a visit. Pure but for what it remembers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.contract.reports import ProgressReport

TOLD_SECONDS = 10.0
"""A status is written at most so often for progress alone: each write goes to etcd, and to all who watch."""


@dataclass(frozen=True)
class _Told:
    report: ProgressReport
    time: float


class Reports:
    """Reports by pod. Between two that are told on lie ten seconds, but for the first and for what changes a state."""

    def __init__(self) -> None:
        self._told: dict[ObjectKey, _Told] = {}

    def put(self, pod: ObjectKey, report: ProgressReport, now: float) -> bool:
        """Take note of a report, at a time of any steady clock in seconds; returns whether it is told on."""
        last = self._told.get(pod)
        if last is not None and now - last.time < TOLD_SECONDS and not _turns(last.report, report):
            return False
        self._told[pod] = _Told(report, now)
        return True

    def of(self, pods: Iterable[Pod]) -> Mapping[str, ProgressReport]:
        """What was told on of these pods, by name."""
        return {pod.metadata.name: self._told[pod.key].report for pod in pods if pod.key in self._told}

    def forget(self, pod: ObjectKey) -> None:
        """The pod is gone."""
        self._told.pop(pod, None)


def _turns(before: ProgressReport, after: ProgressReport) -> bool:
    """Whether the report says more than that time has passed."""
    return (
        before.stage != after.stage
        or before.in_place != after.in_place
        or before.world_size != after.world_size
        or (before.step == before.resumed_step) != (after.step == after.resumed_step)
        or bool(before.step) != bool(after.step)
    )
