"""The table that ``make bench-operator`` prints."""

from collections.abc import Mapping
from typing import Any

PEERS = (
    ("Kueue, 15,000 workloads admitted", "43 workloads/s", "its test/performance/scheduler, envtest"),
    ("KubeRay 1.1.1, 10,000 clusters ready", "6.6 clusters/s", "its benchmark/perf-tests, on GKE"),
)


def table(results: Mapping[str, Any]) -> str:
    """One line a figure: what, how much, and what was aimed at or what it compares with."""
    bare, burst, steady, idle = (results[name] for name in ("bare_loop", "at_once", "at_a_rate", "idle"))
    ratio = burst["secondsToChildren"] / bare["seconds"]
    objects = burst["objects"]
    rows = [
        ("figure", "Modelyard", "aim or peer"),
        (f"bare loop: {bare['calls']} applies", f"{bare['seconds']:.1f} s", f"{bare['callsPerSecond']:.0f} calls/s"),
        (f"{objects} at once: until all children exist", f"{burst['secondsToChildren']:.1f} s", ""),
        ("  times the bare loop", f"{ratio:.2f}", "<= 3"),
        ("  TrainingJobs a second", f"{objects / burst['secondsToChildren']:.1f}", ""),
        *((f"  {name}", "", f"{figure} ({source})") for name, figure, source in PEERS),
        ("  reconciles a second", f"{burst['reconcilesPerSecond']:.0f}", ""),
        ("  API requests an object", f"{burst['requestsPerObject']:.1f}", ""),
        ("  CPU of the operator an object", f"{burst['cpuMillisecondsPerObject']:.0f} ms", ""),
        ("  p99 from creation to children", f"{burst['p99Seconds']:.1f} s", ""),
        ("  peak memory", f"{burst['peakMemoryMiB']:.0f} MiB", ""),
        ("50 a second: p50 from creation to children", f"{steady['p50Seconds']:.2f} s", ""),
        ("  p99", f"{steady['p99Seconds']:.2f} s", "<= 2 s"),
        ("  API writes an object until running", f"{steady['writesPerObject']:.1f}", "<= 4"),
        ("  API requests an object until running", f"{steady['requestsPerObject']:.1f}", ""),
        ("  peak memory", f"{steady['peakMemoryMiB']:.0f} MiB", ""),
        (f"{idle['objects']} idle: memory at rest", f"{idle['memoryMiB']:.0f} MiB", "<= 300 MiB"),
        ("  from start to caught up", f"{idle['caughtUpSeconds']:.1f} s", "<= 30 s"),
        ("  API requests meanwhile", f"{sum(idle['requests'].values())}", ""),
        ("  API writes meanwhile", f"{idle['writes']}", "0"),
    ]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{what:<{wide[0]}}  {figure:>{wide[1]}}  {aim}".rstrip() for what, figure, aim in rows)
