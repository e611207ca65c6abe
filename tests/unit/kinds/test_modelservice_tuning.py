"""What a service says of how its pods run the model."""

from kind_stories import OTHER_DIGEST, READY, Story, publisher
from modelyard.api.workloads import Deployment
from modelyard.contract.reports import ProgressReport, Serving
from modelyard.kinds.modelservice import KIND
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.modelservice.scaling import child_name

CHOICE = Serving(
    provider="Cpu", mode="Inline", instances=1, threads=1, max_batch=8, run_microseconds=9, rows_per_second=400000
)


def started(spec: str = "{model: {compressionJob: {name: int8}}}") -> tuple[Story[ModelService], str]:
    """A service and its first revision, whose pod is ready."""
    story = Story(KIND, spec, publisher("CompressionJob", "int8", "Complete"))
    story.visit()
    story.visit()
    return story, ready(story)


def ready(story: Story[ModelService]) -> str:
    """The candidate, whose pod gets ready."""
    candidate = story.resource.status.candidate
    assert candidate is not None
    story.run(story.child(Deployment, child_name(story.resource, candidate.revision)), READY)
    story.visit()
    return candidate.revision


def report(story: Story[ModelService], revision: str, choice: Serving) -> None:
    said = ProgressReport(stage="Serving", serving=choice, time="2026-05-01T12:00:00Z")
    story.progress[f"{child_name(story.resource, revision)}-0"] = said
    story.visit()


def test_how_the_stable_revision_runs_its_model_is_told_once() -> None:
    story, first = started()
    assert story.resource.status.tuning is None
    report(story, first, CHOICE)
    report(story, first, CHOICE.model_copy(update={"max_batch": 16}))
    assert story.resource.status.tuning == CHOICE
    story.bring(publisher("CompressionJob", "int8", "Complete", OTHER_DIGEST))
    story.visit(60)
    candidate = story.resource.status.candidate
    assert candidate is not None
    other = CHOICE.model_copy(update={"mode": "Threads"})
    report(story, candidate.revision, other)
    assert story.resource.status.tuning == CHOICE
    ready(story)
    assert story.resource.status.tuning == other


def test_a_model_that_runs_on_the_cpu_though_cuda_was_asked_for_says_so() -> None:
    story, revision = started("{model: {compressionJob: {name: int8}}, runtime: {executionProviders: [Cuda, Cpu]}}")
    assert story.conditions()["Accelerated"] == "Unknown NotLoadedYet"
    report(story, revision, CHOICE)
    assert story.conditions()["Accelerated"] == "False CudaMissing"
    assert "set runtime.image to one with CUDA" in story.condition("Accelerated").message
    assert story.conditions()["Ready"] == "True Serving"


def test_a_model_that_runs_on_the_gpu_says_so() -> None:
    story, revision = started("{model: {compressionJob: {name: int8}}, runtime: {executionProviders: [Cuda]}}")
    report(story, revision, CHOICE.model_copy(update={"provider": "Cuda"}))
    assert story.conditions()["Accelerated"] == "True Cuda"
