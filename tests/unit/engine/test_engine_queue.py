import asyncio
import random

from lapse import elapsed, run
from modelyard.engine.queue import WorkQueue


def work_queue(seed: int = 0) -> WorkQueue[str]:
    return WorkQueue(base_delay=1.0, max_delay=10.0, random_source=random.Random(seed))


def test_a_key_added_twice_is_handed_out_once() -> None:
    async def scenario() -> tuple[list[str], int]:
        queue = work_queue()
        for key in ("a", "b", "a"):
            queue.add(key)
        return [await queue.get(), await queue.get()], len(queue)

    assert run(scenario()) == (["a", "b"], 0)


def test_a_key_that_is_worked_on_goes_to_nobody_else() -> None:
    async def scenario() -> str:
        queue = work_queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("b")
        return await queue.get()

    assert run(scenario()) == "b"


def test_a_key_added_while_it_is_worked_on_comes_again_when_that_is_done() -> None:
    async def scenario() -> tuple[int, str]:
        queue = work_queue()
        queue.add("a")
        await queue.get()
        queue.add("a")
        waiting = len(queue)
        queue.done("a")
        return waiting, await queue.get()

    assert run(scenario()) == (0, "a")


def test_two_waiting_workers_get_a_key_each() -> None:
    async def scenario() -> set[str]:
        queue = work_queue()
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(queue.get()) for _ in range(2)]
            await asyncio.sleep(1)
            queue.add("a")
            queue.add("b")
        return {worker.result() for worker in workers}

    assert run(scenario()) == {"a", "b"}


def test_a_delayed_key_comes_at_its_time() -> None:
    async def scenario() -> list[tuple[str, float]]:
        queue = work_queue()
        queue.add_after("late", 30)
        queue.add_after("early", 5)
        return [(await queue.get(), elapsed()) for _ in range(2)]

    assert run(scenario()) == [("early", 5.0), ("late", 30.0)]


def test_a_key_delayed_twice_comes_once_and_at_the_earlier_time() -> None:
    async def scenario() -> list[tuple[str, float]]:
        queue = work_queue()
        for seconds in (30, 5, 20):
            queue.add_after("a", seconds)
        queue.add_after("end", 100)
        found = []
        for _ in range(2):
            key = await queue.get()
            queue.done(key)
            found.append((key, elapsed()))
        return found

    assert run(scenario()) == [("a", 5.0), ("end", 100.0)]


def test_failures_in_a_row_wait_twice_as_long_each_up_to_the_limit() -> None:
    async def scenario() -> list[float]:
        queue = work_queue(seed=7)
        return [queue.retry("a") for _ in range(6)]

    jitter = random.Random(7)
    assert run(scenario()) == [full * jitter.uniform(0.5, 1.0) for full in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0)]


def test_after_a_success_failures_count_from_the_start() -> None:
    async def scenario() -> float:
        queue = work_queue(seed=7)
        queue.retry("a")
        queue.forget("a")
        return queue.retry("a")

    assert 0.5 <= run(scenario()) <= 1.0


def test_a_failed_key_comes_again_after_its_delay() -> None:
    async def scenario() -> tuple[str, bool]:
        queue = work_queue()
        delay = queue.retry("a")
        return await queue.get(), elapsed() == round(delay, 2)

    assert run(scenario()) == ("a", True)


def test_the_queue_is_idle_when_nothing_waits_and_nobody_works() -> None:
    async def scenario() -> list[bool]:
        queue = work_queue()
        idle = asyncio.create_task(queue.idle())
        await asyncio.sleep(1)
        seen = [idle.done()]
        queue.add("a")
        await queue.get()
        queue.add("a")
        busy = asyncio.create_task(queue.idle())
        for _ in range(2):
            queue.done("a")
            await asyncio.sleep(1)
            seen.append(busy.done())
            if len(queue):
                await queue.get()
        return seen

    assert run(scenario()) == [True, False, True]
