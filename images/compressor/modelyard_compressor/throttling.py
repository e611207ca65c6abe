"""How often did the kernel stop this pod for its CPU limit?"""

from pathlib import Path

_STATISTICS = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))
"""Of cgroup v2 and of v1, as a container sees its own."""


def parse_throttled(text: str) -> int | None:
    """The periods in which the group was throttled, from the text of ``cpu.stat``; None where it has no limit."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "nr_throttled":
            return int(value)
    return None


def throttling() -> int | None:
    """The periods so far in which this pod was throttled; None where the kernel does not tell."""
    path = next((path for path in _STATISTICS if path.is_file()), None)
    return parse_throttled(path.read_text()) if path else None


def throttled_since(before: int | None) -> int | None:
    """The periods since ``before`` in which this pod was throttled; None where the kernel does not tell."""
    after = throttling()
    return None if before is None or after is None else after - before
