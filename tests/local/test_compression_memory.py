"""The compressor takes as much memory as it says before it begins."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphs import graph, node, normal
from modelyard.contract import layout
from modelyard.contract.reports import Termination
from whole_runs import AUTO, Files, source_artifact, write_run

# What a process took at its most is read by itself: its parent would count itself at the time of the fork.
SCRIPT = """
import re, sys
from pathlib import Path
from modelyard_compressor.__main__ import main
assert main() == 0
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
Path(sys.argv[1]).write_text(peak[1])
"""
TOLERANCE = 0.3


def convolutions(channels: int, count: int) -> onnx.ModelProto:
    """Of 8 x 8 pixels, as the digits are."""
    nodes, weights, value = [], {}, "image"
    for place in range(count):
        weights[f"w{place}"] = normal(channels, 1 if place == 0 else channels, 3, 3, seed=place, scale=0.05)
        nodes += [
            node("Conv", [value, f"w{place}"], [f"a{place}"], pads=[1, 1, 1, 1]),
            node("Relu", [f"a{place}"], [f"b{place}"]),
        ]
        value = f"b{place}"
    nodes += [node("GlobalAveragePool", [value], ["pooled"]), node("Flatten", ["pooled"], ["logits"])]
    return graph(nodes, weights, ["batch", 1, 8, 8], output="logits", name="image")


@pytest.mark.parametrize(("channels", "count"), [(32, 3), (512, 8)], ids=["digits", "60 MB"])
def test_the_estimate_is_within_30_percent(channels: int, count: int, tmp_path: Path) -> None:
    (tmp_path / layout.CONFIG).mkdir()
    images = np.random.default_rng(0).random((48, 1, 8, 8), np.float32)
    files: Files = {
        "calibration": {"image": images[:16]},
        "eval": {"image": images[16:], "labels": np.arange(32) % channels},
    }
    source = source_artifact(tmp_path, convolutions(channels, count), files)
    write_run(tmp_path, source, quantize=AUTO.model_copy(update={"range_repair": [True, False]}))

    environment = {**os.environ, layout.ROOT_VARIABLE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "peak")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    said = Termination.model_validate_json((tmp_path / layout.TERMINATION_LOG).read_bytes())
    assert said.memory is not None
    peak = int((tmp_path / "peak").read_text()) << 10
    assert said.memory.estimate_bytes == pytest.approx(peak, rel=TOLERANCE)
