"""All tests, tier by tier: ``python tests/tiers.py [TIER ...]``. The end names what failed and what could not run."""
# ruff: noqa: T201

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

MISSING = 77
"""The exit status of a tier that this machine cannot run, as automake has it; its last line says why."""
PARALLEL = ("-n", "2", "--dist", "loadfile")
SLOWEST = ("--durations", "20", "--durations-min", "5")
TIERS = {
    "unit": ["tests/unit", *PARALLEL],
    "local": ["tests/conformance", "tests/local", *PARALLEL],
    "api": ["tests/api", *PARALLEL],
    "e2e": ["tests/e2e"],
    "compression": ["tests/compression"],
}
ON_REQUEST = {"compression"}
"""Too long for every day."""
MEANING = {
    "unit": "pure code",
    "local": "processes of this machine",
    "api": "a real Kubernetes API server; its first run builds it, about 8 minutes on 2 cores",
    "compression": "compression of networks that are trained first, about 10 minutes on 2 cores",
    "e2e": "a real node, images and the Helm chart; its first run builds them, about 10 minutes on 2 cores",
}
ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tier", nargs="*", help=f"of {', '.join(TIERS)}; default: all but {', '.join(ON_REQUEST)}")
    tiers = parser.parse_args().tier or [tier for tier in TIERS if tier not in ON_REQUEST]
    if unknown := set(tiers) - set(TIERS):
        parser.error(f"no such tier: {', '.join(sorted(unknown))}; there are {', '.join(TIERS)}")
    results = []
    for tier in tiers:
        print(f"\n=== {tier}: {MEANING[tier]}", flush=True)
        began = time.monotonic()
        status, last = run(TIERS[tier])
        results.append((tier, status, time.monotonic() - began, last))
    print()
    missing_fails = bool(os.environ.get("CI"))
    for tier, status, seconds, last in results:
        verdict = {0: "passed", MISSING: f"MISSING: {last}"}.get(status, f"FAILED: {last}")
        print(f"{tier:6} {seconds:6.0f} s  {verdict}")
    return int(any(status and (status != MISSING or missing_fails) for _, status, _, _ in results))


def run(arguments: list[str]) -> tuple[int, str]:
    """pytest's exit status and the last line that it printed."""
    last = ""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *SLOWEST, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =!\n").removeprefix("_pytest.outcomes.Exit: ") or last
    return process.returncode, last


if __name__ == "__main__":
    sys.exit(main())
