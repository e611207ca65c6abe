"""``make bench-serving``: our server beside a bare ONNX Runtime loop, an echo, and the peers, on one core each.

The client has a core of its own. Prints a table for each model, and writes all to build/benchmarks/serving.json.
"""
# ruff: noqa: T201

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving_load import Load
from serving_models import BenchModel, models
from serving_peers import Contender, body, contenders, python_of, started

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "build/benchmarks/serving.json"
START_SECONDS = 120.0
Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["tiny", "1ms", "10ms", "transformer"])
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 8, 64, 256])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--only", nargs="+", help="contenders whose name holds one of these")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--no-rates", action="store_true", help="without the open loop at 50, 80 and 300 %%")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache/modelyard-peers")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("two cores are needed: one for the server, one for the client")
    server_core, client_core = cores[0], cores[-1]
    results: list[Figures] = []
    for name in arguments.models:
        model = models()[name]
        print(f"\n{name}", flush=True)
        for group in by_process(contenders(model), arguments.only):
            # Just before each, since a virtual machine's speed changes within minutes.
            bare = bare_rates(model, server_core, arguments.seconds / 8)
            best = max(bare.values())
            rates = ", ".join(f"{rate:.0f} at {rows}" for rows, rate in bare.items())
            print(f"bare loop, rows/s by rows of a run: {rates}", flush=True)
            results.append({"model": name, "bareRowsPerSecond": bare})
            with running(group[0], model, server_core, arguments.environments) as (process, ready):
                if ready is None:
                    print(f"{group[0].name:22} did not start", flush=True)
                    continue
                for contender in group:
                    for figures in measured(contender, model, process, client_core, arguments):
                        rows = figures["requestsPerSecond"] * figures["rows"]
                        figures |= {"model": name, "contender": contender.name, "shareOfBare": round(rows / best, 4)}
                        figures |= {"memoryMiB": memory_of(process), "secondsToReady": ready}
                        results.append(figures)
                        print(line(figures), flush=True)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            document = {"machine": os.uname().machine, "cores": len(cores), "results": results}
            RESULTS.write_text(json.dumps(document, indent=1))
    print(f"\nwritten to {RESULTS}")
    return 0


def bare_rates(model: BenchModel, core: int, seconds: float) -> dict[int, float]:
    """Rows a second of the bare loop by rows of a run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model.data)
        words = ["taskset", "-c", str(core), sys.executable, str(HERE / "serving_bare.py"), str(file)]
        output = subprocess.run([*words, str(model.width), str(seconds)], check=True, capture_output=True).stdout
    return {int(rows): rate for rows, rate in json.loads(output).items()}


def by_process(found: Sequence[Contender], only: Sequence[str] | None) -> list[list[Contender]]:
    """Contenders that are one process together."""
    groups: dict[str, list[Contender]] = {}
    for each in found:
        if only is None or any(part in each.name for part in only):
            groups.setdefault(each.key, []).append(each)
    return list(groups.values())


@contextmanager
def running(contender: Contender, model: BenchModel, core: int, environments: Path) -> Iterator[Any]:
    """The server while it runs: its process group, and the seconds until it answered, or None."""
    python = python_of(contender, environments)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        process = started(contender, model, Path(folder), python, core)
        try:
            answered = wait_until_answered(contender, model, process)
            ready = round(time.perf_counter() - begin, 2) if answered else None
            if ready is None:
                print((Path(folder) / "log").read_text(errors="replace")[-2000:])
            yield process.pid, ready
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until_answered(contender: Contender, model: BenchModel, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server comes to answer a request."""
    data, headers = body(contender.form, model, 1)
    fields = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(data)}", "Connection: close"))
    request = f"POST {contender.path} HTTP/1.1\r\nHost: server\r\n{fields}\r\n".encode() + data
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            with socket.create_connection((contender.host, contender.port), timeout=5) as connection:
                connection.sendall(request)
                if contender.form == "grpc" or connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def memory_of(leader: int) -> float:
    """Resident memory of a process group in MiB."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                total += int((status.parent / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return round(total / 2**20, 1)


def cpu_of(leader: int) -> float:
    """Seconds of CPU that the processes of a group have used."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measured(
    contender: Contender, model: BenchModel, server: int, core: int, arguments: argparse.Namespace
) -> Iterator[Figures]:
    """The figures of one contender: closed loops, then open ones at a share of the best throughput."""
    with tempfile.TemporaryDirectory() as folder:
        best = 0.0
        for rows in arguments.rows if contender.form != "row" else [1]:
            data, headers = body(contender.form, model, rows)
            file = Path(folder) / str(rows)
            file.write_bytes(data)
            protocol = "grpc" if contender.form == "grpc" else "http"
            load = Load(contender.host, contender.port, contender.path, str(file), headers, protocol, core=core)
            for concurrency in arguments.concurrency:
                figures = asked(load, server, concurrency=concurrency, seconds=arguments.seconds)
                yield figures | {"rows": rows, "load": f"closed, {concurrency}"}
                best = max(best, figures["requestsPerSecond"] if rows == 1 else 0.0)
            if rows == 1 and best and protocol == "http" and not arguments.no_rates:
                for share in (0.5, 0.8, 3.0):
                    figures = asked(
                        load, server, concurrency=512 if share > 1 else 64, rate=share * best, seconds=arguments.seconds
                    )
                    yield figures | {"rows": rows, "load": f"open, {share:.0%}"}


def asked(load: Load, server: int, **changes: object) -> Figures:
    """What the load generator tells, and the CPU that a request costs the server, which other work disturbs less."""
    before = cpu_of(server)
    words = [sys.executable, str(HERE / "serving_load.py"), json.dumps(asdict(load) | changes)]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: Figures = json.loads(output)
    spent = cpu_of(server) - before
    return found | {"cpuMicroseconds": round(spent / max(found["answers"], 1) * 1e6, 1)}


def line(figures: Mapping[str, Any]) -> str:
    """One line of the table."""
    p50, p99 = (figures[f"{name}Microseconds"] or float("nan") for name in ("p50", "p99"))
    return (
        f"{figures['contender']:20} {figures['load']:12} {figures['rows']:3} rows "
        f"{figures['requestsPerSecond']:9.0f} requests/s {figures['shareOfBare']:7.1%} of bare "
        f"{figures['cpuMicroseconds']:7.0f} us CPU  p50 {p50:8.0f} us  p99 {p99:8.0f} us"
    )


if __name__ == "__main__":
    sys.exit(main())
