import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import numpy as np
import pytest

from modelyard_server.batch_queue import BatchQueue, Job
from modelyard_server.batcher import Batcher, InlineBatcher, ThreadedBatcher
from modelyard_server.errors import OverloadError, RequestError
from modelyard_server.tensors import Tensor

DEADLINE = 10.0


class Model:
    """Adds one; remembers the rows of each run, and can be held up."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        self.entered.set()
        assert self.open.wait(DEADLINE)
        self.rows.append(len(inputs["x"]))
        return [np.asarray(inputs["x"], np.int64) + 1 for _ in outputs]


Make = Callable[..., Batcher]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture(params=["inline", "threads"])
async def make(request: pytest.FixtureRequest, model: Model) -> AsyncIterator[Make]:
    """Makes a batcher of either sort."""
    made: list[Batcher] = []

    def maker(*, rows: int = 8, delay: float = 0.0, most: int = 100) -> Batcher:
        queue = BatchQueue(most)
        if request.param == "inline":
            made.append(InlineBatcher(model.run, rows, delay, queue, lambda jobs, seconds: None))
        else:
            made.append(ThreadedBatcher(model.run, rows, delay, 1, queue, lambda jobs, seconds: None))
        return made[-1]

    yield maker
    model.open.set()
    for each in made:
        each.close()


def ask(batcher: Batcher, value: int, *, deadline: float = float("inf")) -> tuple[Job, asyncio.Future[int]]:
    """Submit one row; the future has its result."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def done(job: Job, outcome: Sequence[Tensor] | Exception) -> None:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(int(outcome[0][0]))

    job = Job({"x": np.array([value])}, ("y",), 1, done, deadline=deadline)
    batcher.submit(job)
    return job, future


async def test_each_gets_its_own_result(make: Make) -> None:
    batcher = make()
    futures = [ask(batcher, value)[1] for value in range(20)]
    assert await asyncio.wait_for(asyncio.gather(*futures), DEADLINE) == list(range(1, 21))


async def test_what_waits_leaves_together(make: Make, model: Model) -> None:
    batcher = make(delay=0.001)
    futures = [ask(batcher, value)[1] for value in range(12)]
    await asyncio.wait_for(asyncio.gather(*futures), DEADLINE)
    assert (max(model.rows), sum(model.rows)) == (8, 12)


async def test_on_the_event_loop_what_shares_no_run_is_run_at_once(model: Model) -> None:
    batcher = InlineBatcher(model.run, 1, 0.0, BatchQueue(1), lambda jobs, seconds: None)
    for value in range(3):
        _, future = ask(batcher, value)
        assert future.result() == value + 1
    _, late = ask(batcher, 4, deadline=0.0)
    with pytest.raises(RequestError, match="the deadline of this request passed"):
        late.result()
    assert (batcher.waiting, model.rows) == (0, [1, 1, 1])


async def test_a_delay_ends(make: Make, model: Model) -> None:
    batcher = make(delay=0.01)
    assert await asyncio.wait_for(ask(batcher, 1)[1], DEADLINE) == 2


async def test_a_late_request_is_told_so_and_not_run(make: Make, model: Model) -> None:
    batcher = make()
    _, late = ask(batcher, 1, deadline=0.0)
    with pytest.raises(RequestError, match="the deadline of this request passed") as refused:
        await asyncio.wait_for(late, DEADLINE)
    assert (refused.value.status, model.rows) == (504, [])


async def test_a_cancelled_request_is_not_run(make: Make, model: Model) -> None:
    batcher = make(delay=0.05)
    job, cancelled = ask(batcher, 1)
    batcher.cancel(job)
    assert await asyncio.wait_for(ask(batcher, 2)[1], DEADLINE) == 3
    assert (cancelled.done(), model.rows) == (False, [1])


async def test_a_full_queue_refuses(make: Make) -> None:
    batcher = make(delay=1.0, most=2, rows=8)
    jobs = [ask(batcher, value)[0] for value in range(2)]
    assert batcher.waiting == 2
    with pytest.raises(OverloadError, match="2 requests are waiting"):
        ask(batcher, 3)
    with pytest.raises(OverloadError, match="2 requests are waiting"):
        batcher.check_room()
    for job in jobs:
        batcher.cancel(job)
    batcher.check_room()


async def test_on_the_event_loop_a_full_queue_makes_room_by_running(model: Model) -> None:
    batcher = InlineBatcher(model.run, 2, 0.0, BatchQueue(3), lambda jobs, seconds: None)
    futures = []
    for value in range(6):
        batcher.check_room()
        futures.append(ask(batcher, value)[1])
    assert (batcher.waiting, model.rows) == (2, [2, 2])
    assert await asyncio.wait_for(asyncio.gather(*futures), DEADLINE) == list(range(1, 7))


async def test_while_a_batch_runs_the_loop_goes_on_and_the_queue_grows(model: Model) -> None:
    batcher = ThreadedBatcher(model.run, 8, 0.0, 1, BatchQueue(100), lambda jobs, seconds: None)
    model.open.clear()
    first = ask(batcher, 0)[1]
    assert await asyncio.to_thread(model.entered.wait, DEADLINE)
    others = [ask(batcher, value)[1] for value in range(5)]
    assert batcher.waiting == 5
    model.open.set()
    await asyncio.wait_for(asyncio.gather(first, *others), DEADLINE)
    batcher.close()
    assert model.rows == [1, 5]


async def test_clients_that_come_again_are_waited_for_and_share_a_run(model: Model) -> None:
    batcher = ThreadedBatcher(model.run, 8, 0.0, 1, BatchQueue(100), lambda jobs, seconds: None, patience=DEADLINE)
    model.open.clear()

    async def client(requests: int) -> None:
        for value in range(requests):
            assert await asyncio.wait_for(ask(batcher, value)[1], DEADLINE) == value + 1

    first = asyncio.create_task(client(21))
    assert await asyncio.to_thread(model.entered.wait, DEADLINE)
    others = [asyncio.create_task(client(20)) for _ in range(3)]
    await asyncio.sleep(0)  # they ask
    model.open.set()
    await asyncio.gather(first, *others)
    batcher.close()
    assert model.rows == [1, *[4] * 20]


async def test_clients_that_do_not_come_again_hold_up_nobody(model: Model) -> None:
    batcher = ThreadedBatcher(model.run, 8, 0.0, 1, BatchQueue(100), lambda jobs, seconds: None, patience=0.001)
    for _ in range(5):
        futures = [ask(batcher, value)[1] for value in range(6)]
        await asyncio.wait_for(asyncio.gather(*futures), DEADLINE)
        assert await asyncio.wait_for(ask(batcher, 7)[1], DEADLINE) == 8
    batcher.close()
    assert sum(model.rows) == 35
