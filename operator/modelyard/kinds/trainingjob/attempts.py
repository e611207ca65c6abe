"""Which attempt a TrainingJob is at, and what its children are called. Pure."""

from collections.abc import Sequence

from modelyard.api import conditions
from modelyard.api.children import Children
from modelyard.api.pods import Pod
from modelyard.api.workloads import Job
from modelyard.kinds.endings import stopped
from modelyard.kinds.trainingjob.model import TrainingJob

SUSPENDED = "Suspended"


def service_name(job: TrainingJob) -> str:
    """The headless Service's name. Each kind has a suffix of its own, so that equal names of kinds never meet."""
    return f"{job.metadata.name}-train"


def attempt_name(job: TrainingJob, attempt: int) -> str:
    """The name of an attempt's Job."""
    return f"{service_name(job)}-{attempt}"


def run_name(job: TrainingJob, attempt: int) -> str:
    """The name of the ConfigMap with an attempt's run file."""
    return f"{attempt_name(job, attempt)}-run"


def code_name(job: TrainingJob) -> str:
    """The name of the job's own copy of its code."""
    return f"{service_name(job)}-code"


def current_attempt(job: TrainingJob) -> int:
    """The attempt to work on, from 1; it rises with each restart, and when the job goes on after it was suspended."""
    status = job.status
    resumed = not job.spec.suspend and conditions.is_true(status.conditions, SUSPENDED)
    return status.attempt + 1 if resumed else max(1, status.attempt)


def stopping(job: TrainingJob) -> bool:
    """Whether the current attempt must have no pods: the job is suspended, or the attempt is being ended."""
    return job.spec.suspend or job.status.halt is not None


def ended(job: Job | None) -> bool:
    """Whether the Job of an attempt ended by itself, so that what it says still counts."""
    return job is not None and bool(job.condition("Complete") or job.condition("Failed"))


def lost(job: TrainingJob, pods: Sequence[Pod]) -> bool:
    """Whether the attempt has failed though its Job, which looks once a second, does not say so yet.

    It will: no pod of an attempt is replaced, but those of an elastic one. Pods that all had to leave their node are
    the Job's to judge: a machine that goes down takes its Job up again.
    """
    if job.spec.elastic is not None or stopped(pods):
        return False
    return any(pod.failed for pod in pods) and all(pod.finished for pod in pods)


def job_of(job: TrainingJob, children: Children, attempt: int) -> Job | None:
    """The Job of an attempt, or None."""
    return children.find(Job, attempt_name(job, attempt))
