"""The Events of a service's life."""

from kind_stories import OTHER_DIGEST, READY, Story, publisher
from modelyard.api.workloads import Deployment
from modelyard.engine.events import events_of
from modelyard.kinds.modelservice import KIND
from modelyard.kinds.modelservice.model import ModelService


class Told:
    """A story whose Events are collected."""

    def __init__(self) -> None:
        source = publisher("CompressionJob", "int8", None)
        self.story: Story[ModelService] = Story(KIND, "{model: {compressionJob: {name: int8}}}", source)
        self.reasons: list[str] = []

    def visit(self) -> None:
        before = self.story.resource.status
        self.story.visit(1)
        events = events_of(before, self.story.resource.status, KIND.alarms)
        self.reasons += [event.reason if event.type == "Normal" else f"! {event.reason}" for event in events]

    def all_ready(self) -> None:
        for child in list(self.story.objects.values()):
            if isinstance(child, Deployment):
                self.story.run(child, READY)
        self.visit()
        self.visit()


def test_a_rollout_reads_as_a_history_without_warnings() -> None:
    told = Told()
    told.visit()
    told.story.bring(publisher("CompressionJob", "int8", "Complete"))
    told.visit()
    told.all_ready()
    first = list(told.reasons)
    told.story.bring(publisher("CompressionJob", "int8", "Complete", digest=OTHER_DIGEST))
    told.visit()
    told.all_ready()
    assert first == ["SourceNotComplete", "Pinned", "Progressing", "Starting", "PodsReady", "AtRest", "Serving"]
    assert told.reasons[len(first) :] == ["Progressing", "AtRest"]
