"""``make bench-training``: seconds from a fault to training again, on a real node, beside S, the time of a first start.

S is measured in the same run: from ``kubectl apply`` to the first step, on an idle cluster.
"""
# ruff: noqa: T201

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx

import binaries
import build
import recovery_peers
from charts import Helm
from installed import RELEASE, SYSTEM, Kubectl, install, place
from launching import Launching
from node import NodeCluster
from node_stage import NodeStage
from waiting import until

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/benchmarks/training.json"
IN_A_ROW = 3


@dataclass(frozen=True)
class Fault:
    """What strikes, what the restart policy is then, and how long it may take beyond S, in seconds."""

    name: str
    strike: Callable[[NodeStage, int], None]
    aim: str
    process_restarts: int = 0
    stays: bool = False
    """Whether the attempt stays the same."""


def rank(stage: NodeStage, _: int) -> None:
    stage.kill_rank(2)


def worker(stage: NodeStage, attempt: int) -> None:
    stage.place.kubectl("delete", "pod", stage.name(attempt, 1), "--wait=false")


def pod_0(stage: NodeStage, attempt: int) -> None:
    stage.place.kubectl("delete", "pod", stage.name(attempt, 0), "--wait=false")


def operator(stage: NodeStage, _: int) -> None:
    system = stage.place.kubectl.of(SYSTEM)
    system("delete", "pod", "-l", "app.kubernetes.io/component=operator", "--force", "--wait=false")


FAULTS = (
    Fault("rank killed, started in place", rank, "<= 2 s", process_restarts=10, stays=True),
    Fault("rank killed, gang restarted", rank, "<= S + 1.5 s"),
    Fault("worker pod deleted", worker, "<= S + 1.5 s"),
    Fault("pod 0 deleted", pod_0, "<= S + 1.5 s"),
    Fault("operator killed", operator, "0 s", stays=True),
)


def start_seconds(stage: NodeStage, fault: Fault) -> float:
    """S: apply a job, and wait for its first step."""
    began = time.time()
    restart = {"backoffSeconds": 0, "processRestarts": fault.process_restarts, "maxRestarts": 20}
    stage.start("--pace", "0.02", "--steps", "100000", restart=restart, resources=recovery_peers.RESOURCES)
    return steps(stage, bool)[0].time - began


@dataclass(frozen=True)
class Step:
    """One line of the record."""

    attempt: int
    number: int
    time: float


def read(stage: NodeStage) -> list[Step]:
    lines = [line.split() for line in stage.record().splitlines()]
    return [Step(int(line[0]), int(line[1]), float(line[3])) for line in lines if len(line) == 4]


def steps(stage: NodeStage, enough: Callable[[list[Step]], bool]) -> list[Step]:
    end = time.monotonic() + stage.deadline
    while not enough(found := read(stage)):
        assert time.monotonic() < end, stage.story()
        time.sleep(0.02)
    return found


def recovery_seconds(stage: NodeStage, fault: Fault) -> float:
    """From the fault until the steps advance past where they were; for a fault that stops nothing, the longest gap."""
    before = steps(stage, lambda lines: len(lines) > 20 and lines[-1].number % 5 == 0)
    attempt, reached = before[-1].attempt, before[-1].number
    struck = time.time()
    fault.strike(stage, attempt)
    if fault.name == "operator killed":
        after = steps(stage, lambda lines: lines[-1].number > reached + 150)
        times = [each.time for each in after if each.time >= struck]
        return max(later - earlier for earlier, later in pairwise(times))

    def past(lines: list[Step]) -> Step | None:
        """The first step beyond all that the struck ranks made, by those that took their place."""
        lost = [each for each in lines if each.attempt == attempt and (not fault.stays or each.time <= struck + 0.5)]
        peak = max(each.number for each in lost)
        later = [each for each in lines if each.time > struck + 0.5 and (fault.stays or each.attempt > attempt)]
        return next((each for each in later if each.number > peak), None)

    beyond = past(steps(stage, lambda lines: past(lines) is not None))
    assert beyond is not None, "waited for"
    return beyond.time - struck


class Watched:
    """The job's state as it is again and again, by a thread of its own until the end of the block."""

    def __init__(self, stage: NodeStage) -> None:
        self._stage = stage
        self._seen: list[tuple[float, str]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            before = time.time()
            self._seen.append((before, self._stage.state))

    def longest_without_a_step(self, times: Sequence[float]) -> float:
        """The longest time in seconds for which the state was Running and none of ``times``, of the steps, fell."""
        return max((longest for start, end in self._running() for longest in _gaps(start, end, times)), default=0.0)

    def _running(self) -> Iterator[tuple[float, float]]:
        start: float | None = None
        for when, state in self._seen:
            if state == "Running" and start is None:
                start = when
            elif state != "Running" and start is not None:
                yield start, when
                start = None
        if start is not None:
            yield start, self._seen[-1][0]


def _gaps(start: float, end: float, times: Sequence[float]) -> Iterator[float]:
    marks = [start, *(each for each in times if start < each < end), end]
    yield from (later - earlier for earlier, later in pairwise(marks))


def measure(fresh: Callable[[], AbstractContextManager[NodeStage]], repeat: int, only: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for fault in (each for each in FAULTS if only in each.name):
        starts, recoveries, in_a_row, idle = [], [], [], []
        for number in range(repeat):
            with fresh() as stage:
                starts.append(start_seconds(stage, fault))
                count = IN_A_ROW if number == 0 else 1
                with Watched(stage) as watched:
                    found = [recovery_seconds(stage, fault) for _ in range(count)]
                idle.append(watched.longest_without_a_step([each.time for each in read(stage)]))
                recoveries.append(found[0])
                in_a_row.extend(found[1:])
            print(f"{fault.name}: S {starts[-1]:.1f} s, {', '.join(f'{each:.1f}' for each in found)} s", flush=True)
        rows.append(
            {
                "fault": fault.name, "aim": fault.aim, "S": starts, "seconds": recoveries, "inARow": in_a_row,
                "runningWithoutAStep": idle,
            }
        )  # fmt: skip
    return rows


@contextmanager
def fresh_stage(client: httpx.Client, kubectl: Kubectl) -> Iterator[NodeStage]:
    with place(client, kubectl, "bench") as here:
        stage = NodeStage(here)
        yield stage
        here.kubectl("delete", "tjob", "--all")
        end = time.monotonic() + 60
        while here.kubectl("get", "pods", "-o", "name") and time.monotonic() < end:
            time.sleep(0.2)


def table(results: Mapping[str, Any]) -> str:
    """What was measured, now or, of what was left out, before."""
    lines = _recoveries(results["recovery"]) if results.get("recovery") else []
    for name, found in results.get("peers", {}).items():
        lines.append(f"{name:58} {', '.join(map(recovery_peers.shown, found))}")
    lines.extend(f"{name:58} {value:8.2f}" for name, value in results.get("host", {}).items())
    return "\n".join(lines)


def _recoveries(rows: Sequence[dict[str, object]]) -> list[str]:
    starts = [each for row in rows for each in _numbers(row["S"])]
    usual = statistics.median(starts)
    lines = [f"S, from apply to the first step: median {usual:.1f} s, worst {max(starts):.1f} s ({len(starts)} starts)"]
    lines.append(f"{'fault':32} {'median':>8} {'worst':>8} {'/ S':>6} {'- S':>7}  in a row       {'idle':>7}  aim")
    for row in rows:
        found = [*_numbers(row["seconds"]), *_numbers(row["inARow"])]
        middle = statistics.median(found)
        again = ", ".join(f"{each:.1f}" for each in _numbers(row["inARow"]))
        lines.append(
            f"{row['fault']:32} {middle:6.1f} s {max(found):6.1f} s {middle / usual:6.2f} {middle - usual:+6.1f} s"
            f"  {again:14} {max(_numbers(row['runningWithoutAStep'])):5.1f} s  {row['aim']}"
        )
    lines.append("idle: the longest time that the status said Running while no step was made")
    return lines


def _numbers(found: object) -> list[float]:
    assert isinstance(found, list)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10, help="jobs for each fault")
    parser.add_argument("--only", default="", help="faults with this in their names")
    parser.add_argument("--peers-only", action="store_true", help="only the same faults without an operator")
    parser.add_argument("--no-cluster", action="store_true", help="only what needs no Kubernetes")
    given = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if not given.peers_only:
        results["host"] = Launching().measure()
    if not given.no_cluster:
        rows, peers = on_a_node(0 if given.peers_only else given.repeat, given.only, max(1, given.repeat // 4))
        results |= {"peers": peers} | ({} if given.peers_only else {"recovery": rows})
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(table(results))


def leads(kubectl: Kubectl) -> bool:
    """Whether a pod of this installation holds the Lease; one of an earlier installation may for 15 s."""
    holder = kubectl("get", "lease", "modelyard", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
    return bool(holder) and f"pod/{holder}" in kubectl("get", "pods", "-o", "name").split()


def on_a_node(repeat: int, only: str, peers: int) -> tuple[list[dict[str, object]], dict[str, list[float | None]]]:
    cluster = NodeCluster()
    ran_before = cluster.running()
    cluster.up()
    try:
        control_plane = cluster.control_plane
        kubectl = Kubectl(binaries.kubectl(), cluster.kubeconfig)
        with (
            tempfile.TemporaryDirectory() as folder,
            httpx.Client(base_url=control_plane.url, verify=control_plane.tls(), timeout=30) as client,
        ):
            helm = Helm(binaries.helm(), Path(folder), cluster.kubeconfig)
            images = build.build(push_to=cluster.registry)
            install(helm, images)
            until(lambda: leads(kubectl.of(SYSTEM)), "the operator leads", 60)
            try:
                return (
                    measure(lambda: fresh_stage(client, kubectl), repeat, only) if repeat else [],
                    recovery_peers.measure(lambda: place(client, kubectl, "peer"), images["trainer"], peers),
                )
            finally:
                helm.run("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    finally:
        if not ran_before:
            cluster.down()


if __name__ == "__main__":
    main()
