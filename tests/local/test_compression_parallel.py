"""A search that several processes share has the result of one process, and bears the loss of one of them."""

from pathlib import Path

import numpy as np
import pytest

from laptop_stage import LaptopStage
from modelyard.contract.artifact import Manifest
from modelyard_compressor.report import Report
from stages import Object
from test_compression_killed import BUILT, net
from waiting import until
from whole_runs import Files, source_artifact

KIND = "CompressionJob"


@pytest.fixture
def source(tmp_path: Path) -> Object:
    images = np.random.default_rng(0).random((120, 1, 8, 8), np.float32)
    files: Files = {
        "calibration": {"image": images[:60]},
        "eval": {"image": images[60:], "labels": images[60:, 0, 0, :1] * np.ones(10, np.float32)},
    }
    found = source_artifact(tmp_path, net(), files)
    return {"uri": found.uri, "digest": found.digest}


def job(name: str, source: Object, folder: Path, pods: int, methods: list[str], **gates: object) -> Object:
    """Four trials for each method of calibration."""
    quantize = {
        "mode": ["Static"],
        "perChannel": [True, False],
        "rangeRepair": [True, False],
        "calibrationMethod": methods,
    }
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "source": {"artifact": source},
            "metric": {"name": "Rmse"},  # another figure for each trial
            "recipe": [{"quantize": quantize}],
            "search": {"parallelism": pods},
            "gates": gates,
            "output": {"uri": f"file://{folder}/{name}"},
        },
    }


def complete(stage: LaptopStage, name: str) -> Object:
    def status() -> Object | None:
        found: Object = stage.found(KIND, name).get("status", {})
        return found if found.get("completionTime") else None

    found = until(status, f"{name} has its result", stage.deadline)
    assert found["state"] == "Complete", found["message"]
    return found


def found_out(folder: Path) -> list[dict[str, object]]:
    """All that is in the report and does not depend on time."""
    (path,) = folder.glob("report-*/report.json")
    return [
        trial.model_dump(exclude={"figures": {"latencies", "speedups"}})
        for trial in Report.model_validate_json(path.read_bytes()).trials
    ]


def holds(trial: dict[str, object]) -> bool:
    gates = trial["gates"]
    assert isinstance(gates, list)
    return all(gate["passed"] for gate in gates)


def model_digest(status: Object) -> str:
    folder = Path(status["artifact"]["uri"].removeprefix("file://"))
    entry = Manifest.model_validate_json((folder / "manifest.json").read_bytes()).file("model.onnx")
    assert entry is not None
    return entry.digest


def test_three_processes_find_what_one_finds(stage: LaptopStage, source: Object, tmp_path: Path) -> None:
    smallest = {"maxSizeBytes": 3400}  # one trial alone, so that speed does not choose
    stage.apply(job("alone", source, tmp_path, 1, ["MinMax"], **smallest))
    alone = complete(stage, "alone")
    stage.apply(job("shared", source, tmp_path, 3, ["MinMax"], **smallest))
    shared = complete(stage, "shared")

    trials = found_out(tmp_path / "alone")
    assert [len(trials), sum(holds(trial) for trial in trials)] == [4, 1]
    assert found_out(tmp_path / "shared") == trials
    assert model_digest(shared) == model_digest(alone)
    logs = [text for name, text in stage.pod_logs().items() if name.startswith("shared-")]
    assert len(logs) == 3
    assert sum(text.count(BUILT) for text in logs) == 4


def test_a_process_that_is_lost_costs_at_most_its_trial(stage: LaptopStage, source: Object, tmp_path: Path) -> None:
    def built() -> int:
        return sum(text.count(BUILT) for name, text in stage.pod_logs().items() if name == "shared-compress-1")

    stage.apply(job("shared", source, tmp_path, 2, ["MinMax", "Entropy", "Percentile"]))
    until(built, "the second pod has built a trial", stage.deadline)
    stage.kill("shared-compress-1")
    complete(stage, "shared")

    logs = stage.pod_logs()
    assert len(found_out(tmp_path / "shared")) == 12
    assert sorted(logs) == ["shared-compress-0", "shared-compress-1", "shared-compress-1-1"]
    assert logs["shared-compress-1-1"].count("was tried before") >= 1
    assert sum(text.count(BUILT) for text in logs.values()) <= 13
