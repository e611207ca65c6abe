"""Our compression beside the defaults of others, on networks trained here: ``make bench-compression``.

Each model is made by its tool in a process of its own, then all of one network are evaluated and timed in turns in this
one. The table is printed, and ``build/benchmarks/compression.json`` holds it.
"""
# ruff: noqa: T201

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from rich.console import Console
from rich.table import Table

from compression_peers import PEERS, Peer, environment
from modelyard.contract.digest import digest_of_json
from modelyard.contract.runs import MetricRun
from modelyard_compressor import accuracy, latency
from modelyard_compressor.cpu import this_cpu
from modelyard_compressor.data import DataOrigin, DataSet
from modelyard_compressor.executed import execute
from modelyard_compressor.intervals import Interval
from modelyard_compressor.sessions import Model
from training import NETS, ROOT, trained

OUT = ROOT / "build" / "benchmarks"
_LARGEST_DROP = {"Top1": 0.003, "Cosine": 0.003}
_PRUNED, _LARGEST_PRUNED_DROP = "ours-pruned", 0.01
_PRUNABLE = {"residual"}
"""Trained here, by a function of that name."""


@dataclass(frozen=True)
class Row:
    """One tool's model of one network."""

    net: str
    tool: str
    error: str | None = None
    accuracy: float | None = None
    drop: float | None = None
    milliseconds: float | None = None
    speedup: float | None = None
    speedup_interval: Interval | None = None
    bytes_: int | None = None
    int8_mac_share: float | None = None
    detail: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="*", default=list(NETS), choices=list(NETS), metavar="NET")
    tools = ["ours", _PRUNED, *PEERS]
    parser.add_argument("--tools", nargs="*", default=tools, choices=tools, metavar="TOOL")
    parser.add_argument("--seconds", type=float, default=30, help="of timing for each network")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.nets:
        rows += compare(name, options.tools, options.seconds)
        write(rows)
    print_table(rows)


def compare(name: str, tools: list[str], seconds: float) -> list[Row]:
    """Every tool's model of one network; a tool that fails is a row with its error."""
    folder = trained(name)
    scratch = OUT / "compression" / name
    scratch.mkdir(parents=True, exist_ok=True)
    paths, failed, details = {"fp32": folder / "model.onnx"}, [], {}
    for tool in (each for each in tools if each != _PRUNED or name in _PRUNABLE):
        path = scratch / f"{tool}.onnx"
        path.unlink(missing_ok=True)
        print(f"{name}: {tool}", flush=True)
        try:
            details[tool] = made(tool, name, folder, path)
            paths[tool] = path
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout or str(error)).strip().splitlines()
            failed.append(Row(name, tool, error=lines[-1][:200]))
    return [*measured(name, folder, paths, details, scratch, seconds), *failed]


def made(tool: str, name: str, folder: Path, target: Path) -> str:
    """Let the tool make its model; returns how, where it says so."""
    if tool in PEERS:
        return by_peer(PEERS[tool], folder, target)
    return ours(name, folder, target, pruned=tool == _PRUNED)


def ours(name: str, folder: Path, target: Path, *, pruned: bool) -> str:
    """Run the compressor as its pods would, with the default recipe and a gate on accuracy."""
    script = str(Path(__file__).with_name("compression_ours.py"))
    drop = _LARGEST_PRUNED_DROP if pruned else _LARGEST_DROP[NETS[name].metric]
    extra = {"BENCH_METRIC": NETS[name].metric, "BENCH_DROP": str(drop)}
    done = run([sys.executable, script, str(folder), str(target), *([name] if pruned else [])], extra)
    return done.strip().splitlines()[-1]


def by_peer(peer: Peer, folder: Path, target: Path) -> str:
    """Let another tool make its model with its own defaults, in an environment of its own."""
    script = Path(__file__).with_name("compression_peers.py")
    run([str(environment(peer)), str(script), peer.name, str(folder), str(target)])
    return ""


def run(command: list[str], extra: Mapping[str, str] = MappingProxyType({})) -> str:
    quiet = {"NNCF_CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env={**os.environ, **extra, **quiet}, capture_output=True, text=True, check=True)
    return done.stdout


def measured(
    name: str, folder: Path, paths: dict[str, Path], details: dict[str, str], scratch: Path, seconds: float
) -> list[Row]:
    data = evaluation(folder)
    metric = MetricRun(name=NETS[name].metric)
    models: dict[str, Model] = {}
    rows: dict[str, Row] = {}
    scores: dict[str, accuracy.Scores] = {}
    for tool, path in paths.items():
        try:
            models[tool] = Model(path, 1)
            scores[tool] = accuracy.evaluate(models[tool], data, metric, 50)
        except Exception as error:  # noqa: BLE001 (others' models may do anything)
            models.pop(tool, None)
            rows[tool] = Row(name, tool, error=str(error).splitlines()[0][:200])
    feed = data.rows(np.arange(1))
    samples, calls = latency.measure(list(models.values()), feed, seconds)
    for tool, timed in zip(models, samples, strict=True):
        faster = latency.speedup(samples[0], timed, 1, 0)
        rows[tool] = Row(
            name,
            tool,
            accuracy=accuracy.accuracy(metric, scores[tool]),
            drop=accuracy.drop(metric, scores["fp32"], scores[tool]),
            milliseconds=latency.summarise(timed, 1, calls).p50_milliseconds,
            speedup=faster.value,
            speedup_interval=faster.interval,
            bytes_=paths[tool].stat().st_size,
            int8_mac_share=execute(paths[tool], feed, scratch).int8_mac_share,
            detail=details.get(tool, ""),
        )
    return [rows[tool] for tool in paths]


def evaluation(folder: Path) -> DataSet:
    with np.load(folder / "eval.npz") as file:
        inputs, labels = {"x": file["x"]}, file["labels"]
    return DataSet(DataOrigin(uri=str(folder), digest=digest_of_json([]), samples=len(labels)), inputs, labels)


def write(rows: list[Row]) -> None:
    cpu = this_cpu()
    body = {
        "machine": {
            "cpu": cpu.model,
            "flags": cpu.arithmetic_flags,
            "vnni": cpu.vnni,
            "python": platform.python_version(),
        },
        "load": os.getloadavg()[0],
        "rows": [
            {**asdict(row), "speedup_interval": row.speedup_interval and row.speedup_interval.model_dump()}
            for row in rows
        ],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "compression.json").write_text(json.dumps(body, indent=1))


def print_table(rows: list[Row]) -> None:
    table = Table("network", "tool", "metric", "lost", "ms", "speed", "95 %", "size", "int8 MACs", "how")
    sizes = {row.net: row.bytes_ for row in rows if row.tool == "fp32"}
    for row in rows:
        if row.error is not None or row.accuracy is None or row.bytes_ is None:
            table.add_row(row.net, row.tool, row.error)
            continue
        interval = row.speedup_interval
        table.add_row(
            row.net,
            row.tool,
            f"{row.accuracy:.4f}",
            f"{100 * (row.drop or 0):.2f}",
            f"{row.milliseconds:.3f}",
            f"{row.speedup:.2f}",
            f"{interval.low:.2f}-{interval.high:.2f}" if interval else "",
            f"{(sizes[row.net] or 0) / row.bytes_:.2f}",
            f"{row.int8_mac_share:.0%}",
            row.detail,
        )
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
