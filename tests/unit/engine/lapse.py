"""An event loop whose clock jumps to the next timer instead of waiting for it: no test sleeps."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")
A_MOMENT = 1e-6
"""No clock stands still: a loop that turns without waiting takes time too."""


class _Jump(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "the test waits for something that nobody will do"
            self.now += timeout + A_MOMENT
        return found


class LapseLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def elapsed() -> float:
    """Seconds since the start of the scenario, to the hundredth."""
    return round(asyncio.get_running_loop().time(), 2)


def run(scenario: Coroutine[None, None, T]) -> T:
    """What ``scenario`` returns, run with a clock that starts at 0 and costs no time."""
    with asyncio.Runner(loop_factory=LapseLoop) as runner:
        return runner.run(scenario)
