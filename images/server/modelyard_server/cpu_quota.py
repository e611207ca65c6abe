"""How many CPUs this process may use: the cgroup's quota, else the CPUs that it is bound to.

ONNX Runtime sees the machine's cores and not the quota (onnxruntime#29510), so its threads are always set from here.
Sources: Linux Documentation/admin-guide/cgroup-v2.rst (cpu.max), Documentation/scheduler/sched-bwc.rst (cgroup v1).
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

_MOST_UNLIMITED = 8


def available_cpus() -> int:
    """Whole CPUs, rounded up: the cgroup's quota; without one what the process is bound to, but at most 8.

    A pod without a limit shares its node, and a machine's every core is seldom meant.
    """
    bound = len(os.sched_getaffinity(0))
    quota = cgroup_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return min(bound, _MOST_UNLIMITED if quota is None else math.ceil(quota))


def cgroup_quota(mount: Path, membership: Path) -> float | None:
    """The smallest CPU quota of this process's group and all above it, in CPUs; None where nothing is limited.

    ``mount`` is where cgroups are mounted (/sys/fs/cgroup), ``membership`` is /proc/self/cgroup. In a container the
    own group is as a rule mounted as the root, so that the path below it may not exist.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            quotas += _above(mount, path, _v2)
        elif "cpu" in controllers.split(","):
            for folder in (mount / controllers, mount / "cpu"):
                quotas += _above(folder, path, _v1)
    return min(quotas, default=None)


def _above(folder: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    parts = [part for part in path.split("/") if part and part != ".."]
    places = [folder.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
    return [quota for place in places if (quota := read(place)) is not None]


def _v2(place: Path) -> float | None:
    quota, _, period = _text(place / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1(place: Path) -> float | None:
    return _ratio(_text(place / "cpu.cfs_quota_us"), _text(place / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """No quota is ``max`` in version 2 and -1 in version 1."""
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) and int(period) else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
