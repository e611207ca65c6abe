"""A CompressionJob that is suspended in mid-search goes on there, on this machine's processes."""

import json
from pathlib import Path

import numpy as np

from laptop_stage import LaptopStage
from stages import Object
from test_compression_killed import BUILT, net
from waiting import until
from whole_runs import Files, source_artifact

JOB = ("CompressionJob", "small")


def job(folder: Path, *, suspend: bool) -> Object:
    """Twelve trials."""
    images = np.random.default_rng(0).random((120, 1, 8, 8), np.float32)
    if not (folder / "source").exists():
        data: Files = {
            "calibration": {"image": images[:60]},
            "eval": {"image": images[60:], "labels": np.zeros(60, np.int64)},
        }
        found = source_artifact(folder, net(), data)
        (folder / "reference.json").write_text(json.dumps({"uri": found.uri, "digest": found.digest}))
    quantize = {
        "mode": ["Static"], "perChannel": [True, False], "rangeRepair": [True, False],
        "calibrationMethod": ["MinMax", "Entropy", "Percentile"],
    }  # fmt: skip
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": JOB[0],
        "metadata": {"name": JOB[1]},
        "spec": {
            "source": {"artifact": json.loads((folder / "reference.json").read_text())},
            "recipe": [{"quantize": quantize}],
            "output": {"uri": f"file://{folder}/out"},
            "suspend": suspend,
        },
    }


def test_a_search_that_is_suspended_goes_on_where_it_was(stage: LaptopStage, tmp_path: Path) -> None:
    def finished() -> int:
        return len(list((tmp_path / "out").glob("report-*-trials/*/trial.json")))

    def state() -> str:
        found: str = stage.found(*JOB).get("status", {}).get("state", "")
        return found

    stage.apply(job(tmp_path, suspend=False))
    until(lambda: finished() >= 2, "two trials are finished", stage.deadline)
    stage.apply(job(tmp_path, suspend=True))
    until(lambda: state() == "Suspended", "the job is suspended", stage.deadline)
    kept = finished()
    until(lambda: not stage.pod_logs(), "its pod is gone", stage.deadline)
    stage.apply(job(tmp_path, suspend=False))
    until(lambda: state() == "Complete", "the job is complete", stage.deadline)

    (log,) = stage.pod_logs().values()
    assert 2 <= kept < 12
    assert (log.count("was tried before"), log.count(BUILT)) == (kept, 12 - kept)
    assert stage.found(*JOB)["status"]["trials"]["measured"] == 12
