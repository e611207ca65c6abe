"""Whether a CompressionJob must have no pod because it is suspended, and what its status says then. Pure."""

from datetime import datetime

from modelyard.api import conditions
from modelyard.api.children import Children
from modelyard.api.conditions import false, settle, true
from modelyard.api.metadata import KubeObject
from modelyard.api.resource import settled
from modelyard.api.workloads import Job
from modelyard.kinds.compressionjob.model import CompressionJob
from modelyard.kinds.compressionjob.status import CompressionJobStatus
from modelyard.kinds.compressionjob.tuning import tuner_name

SUSPENDED = "Suspended"
RUNNING = "Running"


def held(job: CompressionJob, children: Children) -> bool:
    """Whether no pod may start now: the job is suspended, or pods of a Job that was deleted have not ended yet.

    Two pods that search at once would build a trial twice. A Job that ended by itself keeps its word, until that was
    taken.
    """
    jobs = [child for child in children.objects if isinstance(child, Job)]
    alive = [child for child in jobs if not _ended(child)]
    taken = {tuner_name(job)} if job.status.tuned else set()
    if any(child.metadata.name not in taken for child in jobs if child not in alive):
        return False
    return job.spec.suspend or (not alive and _some_run(children))


def kept(children: Children) -> list[KubeObject]:
    """What stays while the job is held: all but Jobs with pods."""
    return [child for child in children.objects if not isinstance(child, Job) or _ended(child)]


def suspended(job: CompressionJob, children: Children, now: datetime) -> CompressionJobStatus:
    """The status of a job that is held."""
    if _some_run(children):
        text = "suspended; waiting until the pod is gone"
        found = [false(RUNNING, "Suspending", text), true(conditions.RECONCILING, "Suspending", text)]
        return _settled(job, now, "Suspending", text, [true(conditions.ACCEPTED, "Valid"), *found])
    text = "finished trials are kept; goes on from there when spec.suspend is false"
    found = [false(RUNNING, "Suspended", text), true(SUSPENDED, "Suspended", text)]
    return _settled(job, now, "Suspended", text, [true(conditions.ACCEPTED, "Valid"), *found])


def noted(job: CompressionJob, status: CompressionJobStatus, now: datetime) -> CompressionJobStatus:
    """``status``, which follows that of ``job``, with Suspended=False where the job was suspended before."""
    if conditions.find(job.status.conditions, SUSPENDED) is None:
        return status
    resumed = settle(job.status.conditions, [false(SUSPENDED, "Resumed")], job.metadata.generation, now)
    return status.model_copy(update={"conditions": [*status.conditions, *resumed]})


def _settled(
    job: CompressionJob, now: datetime, state: str, text: str, found: list[conditions.Condition]
) -> CompressionJobStatus:
    status = settled(job.status, job.metadata.generation, now, state, text, found)
    return status if conditions.find(found, SUSPENDED) is not None else noted(job, status, now)


def _ended(child: Job) -> bool:
    return bool(child.condition("Complete") or child.condition("Failed"))


def _some_run(children: Children) -> bool:
    return any(not pod.finished for pod in children.pods)
