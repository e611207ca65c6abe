"""An operator whose API server refuses, forgets, breaks off, and that is killed after each of its writes."""

import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from control_plane import ControlPlane
from faulty import GONE, LOST, Answer, Asked, FaultyApiServer
from operators import Cluster, Operator, running, settled, sources, training, two_pods
from waiting import until

CHILDREN = {
    "services/digits-train",
    "configmaps/digits-train-code",
    "configmaps/digits-train-1-run",
    "jobs/digits-train-1",
}
TOO_MANY = Answer(429, {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "slow down"})
BROKEN = Answer(500, {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcdserver: timed out"})


class Trouble:
    """What goes wrong, as the test has set it; nothing at first."""

    def __init__(self) -> None:
        self.seed = random.randrange(1 << 32)
        self.answers: tuple[Answer, ...] = ()
        """The first request for each path and method gets one of these."""
        self.struck: set[tuple[str, str]] = set()
        self.expires = False
        self.watched: set[str] = set()
        self.expired: set[str] = set()
        self.kill_at_write: int | None = None
        self.operator: Operator | None = None
        self.writes = 0
        self._random = random.Random(self.seed)

    def __call__(self, asked: Asked) -> Answer | None:
        if asked.watch:
            (self.expired if self.expires else self.watched).add(asked.path)
            return GONE if self.expires else None
        if self.answers and (asked.method, asked.path) not in self.struck:
            self.struck.add((asked.method, asked.path))
            return self._random.choice(self.answers)
        if asked.writes:
            self.writes += 1
            if self.writes == self.kill_at_write:
                assert self.operator is not None
                self.operator.process.send_signal(signal.SIGKILL)
        return None


@pytest.fixture
def trouble() -> Trouble:
    trouble = Trouble()
    print("seed", trouble.seed)  # noqa: T201  pytest shows it where the test failed
    return trouble


@pytest.fixture
def faulty(api_server: ControlPlane, tmp_path: Path, trouble: Trouble) -> Iterator[FaultyApiServer]:
    with FaultyApiServer(api_server, tmp_path, trouble) as faulty:
        yield faulty


@pytest.fixture
def troubled(cluster: Cluster, faulty: FaultyApiServer, tmp_path: Path, trouble: Trouble) -> Iterator[Operator]:
    """A running operator that the trouble may kill."""
    operator = Operator(faulty.kubeconfig, cluster.namespace, tmp_path)
    trouble.operator = operator
    with running(operator, signal.SIGKILL):
        yield operator


def test_refused_and_lost_answers_are_asked_for_again(cluster: Cluster, troubled: Operator, trouble: Trouble) -> None:
    sources(cluster)
    training(cluster, name="before")
    two_pods(cluster, "before-train-1")
    known = set(cluster.children())
    trouble.answers = (TOO_MANY, BROKEN, LOST)
    names = [f"t{number}" for number in range(5)]
    for name in names:
        training(cluster, name=name)

    def begun() -> bool:
        return all(cluster.status("trainingjobs", name).get("attempt") == 1 for name in names)

    until(begun, "all have begun", seconds=60)
    made = set(cluster.children()) - known
    assert len(made) == len(names) * len(CHILDREN)
    struck = {"/".join(path.rsplit("/", 2)[1:]) for _, path in trouble.struck}
    assert made <= struck
    assert troubled.running()


def test_a_watch_whose_version_is_too_old_begins_anew(
    cluster: Cluster, faulty: FaultyApiServer, troubled: Operator, trouble: Trouble
) -> None:
    sources(cluster)
    training(cluster, name="before")
    two_pods(cluster, "before-train-1")
    trouble.expires = True
    faulty.break_watches()
    until(lambda: trouble.expired == trouble.watched, "each watch is told that it is too old")
    cluster.delete("trainingjobs", "before")
    training(cluster)
    trouble.expires = False
    two_pods(cluster, "digits-train-1")
    until(lambda: set(cluster.children()) == CHILDREN, "only the living one's children are left")
    cluster.delete("services", "digits-train")
    until(lambda: cluster.get("services", "digits-train"), "changes are seen again")
    assert troubled.running()


def test_an_operator_killed_after_any_write_leaves_nothing_double(
    cluster: Cluster, troubled: Operator, trouble: Trouble
) -> None:
    """From its first write to the one after which nothing is left to write."""

    def begun(name: str) -> bool:
        return cluster.status("trainingjobs", name).get("attempt") == 1

    def killed_or_begun(name: str) -> bool:
        return not troubled.running() or begun(name)

    sources(cluster)
    step = 0
    while True:
        step += 1
        name = f"t{step}"
        trouble.writes, trouble.kill_at_write = 0, step
        training(cluster, name=name)
        until(partial(killed_or_begun, name), name)
        if troubled.running():
            break
        trouble.kill_at_write = None
        troubled.start()
        two_pods(cluster, f"{name}-train-1")
        until(partial(begun, name), f"a status of {name}")
        children = settled(cluster.children, 0.5)
        ours = {each for each in children if f"/{name}-train" in each}
        assert ours == {each.replace("digits", name) for each in CHILDREN}
        assert len(cluster.pods(f"{name}-train-1")) == 2
    assert step > len(CHILDREN), "it was killed after each child and after its status"
