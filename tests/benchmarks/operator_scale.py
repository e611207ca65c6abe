"""``make bench-operator``: the operator with many objects on a real API server, beside the limit and the peers.

There is no node: the Job controller makes pods, and where they are to run, the benchmark says that they do.
"""
# ruff: noqa: T201

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import binaries
import report
from audit import Request, by_verb, quantile, seconds_to_children
from bare_loop import apply_children
from bench_cluster import ROOT, BenchCluster, until
from lacking import LackingError
from modelyard.api.metadata import JsonObject
from operator_process import MeasuredOperator

FOLDER = ROOT / "build/benchmarks/operator"
RESULTS = ROOT / "build/benchmarks/operator.json"
RATE = 50.0
IDLE_FACTOR = 5
MIB = 1 << 20
Figures = dict[str, Any]


class Benchmark:
    """The four measurements, each in a namespace of its own; one after the other, on one cluster."""

    def __init__(self, cluster: BenchCluster, objects: int) -> None:
        self._cluster = cluster
        self._objects = objects
        self._began = time.monotonic()

    async def bare_loop(self) -> Figures:
        """The limit: what the operator applies for so many objects, applied without an operator."""
        self._say("bare loop: the same server-side applies without an operator")
        await self._cluster.namespace("bare")
        seconds, calls = await apply_children(self._cluster, "bare", self._objects)
        await self._pods("bare")
        self._cluster.log.new()
        return {"objects": self._objects, "seconds": seconds, "calls": calls, "callsPerSecond": calls / seconds}

    async def at_once(self) -> Figures:
        """All TrainingJobs as fast as they can be created."""
        self._say(f"{self._objects} TrainingJobs at once")
        return await self._create("burst", rate=0.0)

    async def at_a_rate(self) -> Figures:
        """So many a second, and pods that run as soon as they are there."""
        self._say(f"{self._objects} TrainingJobs, {RATE:.0f} a second")
        return await self._create("steady", rate=RATE)

    async def idle(self) -> Figures:
        """Finished TrainingJobs whose operator is started again."""
        count, namespace = IDLE_FACTOR * self._objects, "idle"
        self._say(f"{count} finished TrainingJobs are made")
        await self._cluster.namespace(namespace)
        names = [f"idle-{number:05}" for number in range(count)]
        await self._cluster.create(namespace, names)
        await self._cluster.set_status(namespace, names, finished_status())
        self._cluster.log.new()
        figures: Figures = {"objects": count}
        for start in ("first start", "restart"):
            self._say(f"{start} of the operator with {count} idle objects")
            with MeasuredOperator(self._cluster.operator_kubeconfig, FOLDER, namespace) as operator:
                await until(partial(_now, operator.caught_up), "caught up", seconds=300)
                seconds = time.monotonic() - operator.began
                await asyncio.sleep(5)  # so long is looked at the operator at rest
                now, peak = operator.memory()
                asked = self._operators(self._cluster.log.new())
                figures |= {
                    "caughtUpSeconds": seconds,
                    "reconciles": operator.reconciles(),
                    "memoryMiB": now / MIB,
                    "peakMemoryMiB": peak / MIB,
                    "requests": by_verb(asked),
                    "writes": sum(request.writes for request in asked),
                }
        return figures

    async def _create(self, namespace: str, rate: float) -> Figures:
        await self._cluster.namespace(namespace)
        names = [f"{namespace}-{number:05}" for number in range(self._objects)]
        # The operator begins with the first object that it sees.
        await self._cluster.create(namespace, ["first"])
        await self._cluster.set_status(namespace, ["first"], finished_status())
        with MeasuredOperator(self._cluster.operator_kubeconfig, FOLDER, namespace) as operator:
            await until(partial(_now, operator.caught_up), "the operator works")
            self._cluster.log.new()
            before, cpu_before = operator.reconciles(), operator.cpu_seconds()
            kubelet = asyncio.create_task(self._cluster.run_pods(namespace)) if rate else None
            await self._cluster.create(namespace, names, rate)
            await self._pods(namespace)
            requests = await self._quiet()
            if kubelet is not None:
                kubelet.cancel()
            reconciles, (now, peak) = operator.reconciles() - before, operator.memory()
            cpu = operator.cpu_seconds() - cpu_before
        created = [each for each in requests if each.verb == "create" and each.user != self._cluster.operator_user]
        asked = self._operators(requests)
        waits = seconds_to_children(created, asked)
        assert len(waits) == self._objects, f"{len(waits)} of {self._objects} got their children"
        first = min(each.received for each in created)
        children_at = max(each.answered for each in asked if each.makes_child)
        rest_at = max(each.answered for each in asked)
        return {
            "objects": self._objects,
            "secondsToChildren": children_at - first,
            "secondsToRest": rest_at - first,
            "p50Seconds": quantile(waits, 0.5),
            "p99Seconds": quantile(waits, 0.99),
            "reconciles": reconciles,
            "reconcilesPerSecond": reconciles / (rest_at - first),
            "requestsPerObject": len(asked) / self._objects,
            "writesPerObject": sum(each.writes for each in asked) / self._objects,
            "requests": by_verb(asked),
            "errors": sum(each.code >= 400 for each in asked),
            "cpuMillisecondsPerObject": 1000 * cpu / self._objects,
            "memoryMiB": now / MIB,
            "peakMemoryMiB": peak / MIB,
        }

    def _operators(self, requests: Sequence[Request]) -> list[Request]:
        return [each for each in requests if each.user == self._cluster.operator_user]

    async def _pods(self, namespace: str) -> None:
        """Return once every Job has its pod; say meanwhile how far it is."""
        while (found := await self._cluster.count(namespace, "pods")) < self._objects:
            jobs = await self._cluster.count(namespace, "jobs")
            self._say(f"  {jobs} Jobs, {found} pods of {self._objects}")
            await asyncio.sleep(2)

    async def _quiet(self) -> list[Request]:
        """All that was logged until the operator has asked nothing but for signs of life for three seconds."""
        found: list[Request] = []
        last = time.monotonic()
        while time.monotonic() - last < 3:
            await asyncio.sleep(0.5)
            new = self._cluster.log.new()
            found += new
            if any(request.resource for request in new):
                last = time.monotonic()
        return found

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)


async def _now(look: Callable[[], bool]) -> bool:
    return look()


def finished_status() -> JsonObject:
    """What a TrainingJob that published its artefact says."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = f"sha256:{64 * '1'}"
    text = "published pvc://models/digits"
    true: JsonObject = {"status": "True", "observedGeneration": 1, "lastTransitionTime": now}
    conditions: list[JsonObject] = [
        {**true, "type": "Accepted", "reason": "Valid", "message": ""},
        {**true, "type": "Running", "status": "False", "reason": "Complete", "message": ""},
        {**true, "type": "ArtifactReady", "reason": "Published", "message": f"pvc://models/digits {digest}"},
        {**true, "type": "GatePassed", "reason": "NoGates", "message": ""},
        {**true, "type": "Complete", "reason": "Completed", "message": text},
    ]
    return {
        "observedGeneration": 1,
        "state": "Complete",
        "message": text,
        "conditions": [*conditions],
        "startTime": now,
        "completionTime": now,
        "attempt": 1,
        "artifact": {"uri": "pvc://models/digits", "digest": digest, "sizeBytes": 7},
    }


def machine() -> Figures:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": os.cpu_count(), "memoryGiB": round(memory), "python": platform.python_version()}


async def measure(objects: int) -> Figures:
    cluster = BenchCluster(FOLDER, binaries.kubebox())
    async with cluster.running():
        benchmark = Benchmark(cluster, objects)
        results: Figures = {"machine": {**machine(), "loadBefore": os.getloadavg()[0]}}
        for name in ("bare_loop", "at_once", "at_a_rate", "idle"):
            results[name] = await getattr(benchmark, name)()
            print(json.dumps(results[name]))
        results["machine"]["loadAfter"] = os.getloadavg()[0]
        return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1000, help="how many TrainingJobs; five times as many idle ones")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        results = asyncio.run(measure(arguments.objects))
    except LackingError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(FOLDER / "cluster", ignore_errors=True)
    RESULTS.write_text(json.dumps(results, indent=2))
    print()
    print(report.table(results))
    print(f"\n{time.monotonic() - began:.0f} s in all; {RESULTS.relative_to(Path.cwd())} holds more")
    return 0


if __name__ == "__main__":
    sys.exit(main())
