import math

import numpy as np
import pytest

from modelyard_server.batch_queue import BatchQueue, Job
from modelyard_server.errors import RequestError


def job(rows: int = 1, *, width: int = 4, name: str = "x", output: str = "y", deadline: float = math.inf) -> Job:
    inputs = {name: np.zeros((rows, width), np.float32)}
    return Job(inputs, (output,), rows, lambda job, outcome: None, deadline=deadline)


def queue(*jobs: Job, most: int = 100) -> BatchQueue:
    """The jobs, queued a second after one another."""
    found = BatchQueue(most)
    for second, each in enumerate(jobs):
        found.add(each, second)
    return found


def drained(found: BatchQueue, rows: int) -> list[list[Job]]:
    batches = []
    while len(found):
        batches.append(found.take(rows, 0)[0])
    return batches


def test_a_batch_is_as_large_as_the_queue_allows() -> None:
    jobs = [job() for _ in range(5)]
    assert drained(queue(*jobs), rows=3) == [jobs[:3], jobs[3:]]


def test_rows_count_and_not_requests() -> None:
    jobs = [job(2), job(2), job(2)]
    assert drained(queue(*jobs), rows=4) == [jobs[:2], jobs[2:]]


def test_a_request_larger_than_a_batch_goes_alone() -> None:
    jobs = [job(9), job(1)]
    assert drained(queue(*jobs), rows=4) == [jobs[:1], jobs[1:]]


def test_only_requests_of_one_form_go_together() -> None:
    jobs = [job(), job(width=5), job(), job(name="z"), job(output="other")]
    assert drained(queue(*jobs), rows=8) == [[jobs[0], jobs[2]], [jobs[1]], [jobs[3]], [jobs[4]]]


def test_requests_that_share_no_run_go_one_by_one() -> None:
    jobs = [job(0), job(0)]
    assert drained(queue(*jobs), rows=8) == [[jobs[0]], [jobs[1]]]


def test_the_form_that_waits_longest_goes_first() -> None:
    rare, *common = job(width=9), job(), job(), job(), job()
    found = queue(common[0], rare, *common[1:])
    assert [found.take(2, 0)[0] for _ in range(3)] == [common[:2], [rare], common[2:]]


def test_late_requests_are_not_run() -> None:
    late, good = job(deadline=3), job(deadline=30)
    found = queue(late, good)
    assert found.take(8, 10) == ([good], [late])
    assert len(found) == 0


def test_a_full_queue_says_when_to_try_again() -> None:
    with pytest.raises(RequestError, match="2 requests are waiting; try again") as refused:
        queue(job(), job(width=5), job(), most=2)
    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"1"),))


def test_a_dropped_request_makes_room() -> None:
    first, second = job(), job()
    found = queue(first, second, most=2)
    assert (found.discard(first), found.discard(first)) == (True, False)
    found.add(job(), 0)
    assert found.take(1, 0)[0] == [second]


def test_a_batch_is_due_after_the_delay_or_when_it_is_full() -> None:
    found = queue(job(), job())
    assert (found.due(rows=8, delay=5), found.due(rows=2, delay=5), BatchQueue(1).due(1, 0)) == (5, 0, math.inf)
