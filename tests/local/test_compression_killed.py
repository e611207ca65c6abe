"""A compressor that is killed in the middle of its search goes on where it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from graphs import graph, node, normal
from modelyard.contract import layout
from modelyard.contract.reports import Termination
from whole_runs import AUTO, Files, report_of, source_artifact, write_run

BUILT = "built and evaluated"


def net() -> onnx.ModelProto:
    return graph(
        [
            node("Conv", ["image", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "w1"], ["c"], "second", pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["c"], ["d"], "pool"),
            node("Flatten", ["d"], ["logits"], "flatten"),
        ],
        {"w0": normal(16, 1, 3, 3), "w1": normal(10, 16, 3, 3, seed=1)},
        ["batch", 1, 8, 8],
        output="logits",
        name="image",
    )


def compressor(root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, layout.ROOT_VARIABLE: str(root)}
    command = [sys.executable, "-m", "modelyard_compressor"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_compressor_killed_in_mid_search_loses_at_most_one_trial(tmp_path: Path) -> None:
    (tmp_path / layout.CONFIG).mkdir()
    images = np.random.default_rng(0).random((120, 1, 8, 8), np.float32)
    files: Files = {
        "calibration": {"image": images[:60]},
        "eval": {"image": images[60:], "labels": np.zeros(60, np.int64)},
    }
    wide = AUTO.model_copy(update={"per_channel": [True, False], "range_repair": [True, False]})
    write_run(tmp_path, source_artifact(tmp_path, net(), files), quantize=wide)

    with compressor(tmp_path) as killed:
        assert killed.stdout is not None
        built = 0
        for line in killed.stdout:
            built += BUILT in line
            if built == 2:
                break
        killed.send_signal(signal.SIGKILL)
    with compressor(tmp_path) as second:
        out, err = second.communicate(timeout=240)

    assert second.returncode == 0, out + err
    assert out.count("was tried before") >= 2
    assert out.count("was tried before") + out.count(BUILT) == 4
    assert len(report_of(tmp_path).trials) == 4
    said = Termination.model_validate_json((tmp_path / layout.TERMINATION_LOG).read_bytes())
    assert said.outcome == "Succeeded"
