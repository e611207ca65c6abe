"""Which nodes are left in float, and how few."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest

from graphs import answers, graph, node, normal
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.fallback import fewest
from modelyard_compressor.noise import measure_noise, ranked
from modelyard_compressor.shield import shield
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench

RANKING = [f"node{index}" for index in range(20)]


@pytest.mark.parametrize("needed", [1, 2, 3, 5, 8, 11, 12])
def test_as_few_as_hold_are_left_out_in_few_builds(needed: int) -> None:
    builds: list[int] = []

    def build(excluded: Sequence[str]) -> int:
        builds.append(len(excluded))
        return len(excluded)

    found = fewest(RANKING, 12, build, holds=lambda count: count >= needed)

    assert found is not None
    assert (found.built, found.excluded) == (needed, needed)
    assert len(builds) == len(set(builds)) <= 8


def test_none_is_found_where_the_most_do_not_hold() -> None:
    builds: list[int] = []

    found = fewest(RANKING, 6, lambda excluded: builds.append(len(excluded)), holds=lambda _: False)

    assert found is None
    assert builds == [1, 2, 4, 6]


def test_a_short_ranking_ends_the_search() -> None:
    assert fewest([], 8, len, holds=lambda _: True) is None
    assert fewest(RANKING[:1], 8, len, holds=lambda _: False) is None


def net_with_a_delicate_layer() -> onnx.ModelProto:
    """The second of three layers has one huge weight, so that a scale for all of them leaves the others nothing."""
    spoilt = normal(8, 8, 1, 1, seed=1)
    spoilt[:, 0] *= 3000
    silent = normal(8, 8, 1, 1)
    silent[0] = 0
    return graph(
        [
            node("Conv", ["x", "w0"], ["a"], "first"),
            node("Relu", ["a"], ["b"], "relu0"),
            node("Conv", ["b", "w1"], ["c"], "second"),
            node("Sigmoid", ["c"], ["d"], "squash"),
            node("Conv", ["d", "w2"], ["y"], "third"),
        ],
        {"w0": silent, "w1": spoilt, "w2": normal(4, 8, 1, 1, seed=2)},
        ["batch", 8, 4, 4],
    )


def test_the_layer_that_adds_the_noise_is_ranked_first(tmp_path: Path) -> None:
    data = normal(16, 8, 4, 4, seed=5)
    onnx.save(net_with_a_delicate_layer(), tmp_path / "float.onnx")
    workbench = Workbench(tmp_path / "float.onnx", tmp_path, {"x": data[:1]}, {"x": data}, 1, 1)
    trial = Trial(mode="Static", activation="U8", reduce_range=True, calibration_method="MinMax")
    workbench.build(trial, tmp_path / "q.onnx")

    noise = measure_noise(tmp_path / "float.onnx", tmp_path / "q.onnx", [{"x": data}], tmp_path, 1)

    assert ranked(onnx.load(tmp_path / "float.onnx"), noise, ["Conv"])[0] == "second"
    assert noise["b"] > 25 > noise["c"]

    workbench.build(trial, tmp_path / "kept.onnx", excluded=["second"])
    better = measure_noise(tmp_path / "float.onnx", tmp_path / "kept.onnx", [{"x": data}], tmp_path, 1)
    assert better["y"] > noise["y"] + 10


def test_a_second_trial_needs_no_second_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = normal(16, 8, 4, 4, seed=5)
    onnx.save(net_with_a_delicate_layer(), tmp_path / "float.onnx")
    workbench = Workbench(tmp_path / "float.onnx", tmp_path, {"x": data[:1]}, {"x": data}, 1, 1)
    trial = Trial(mode="Static", activation="U8", reduce_range=True, calibration_method="MinMax")
    workbench.build(trial, tmp_path / "q.onnx")

    def fail(_: CalibrationReader) -> None:
        raise AssertionError("calibrated twice")

    monkeypatch.setattr(CalibrationReader, "get_next", fail)
    workbench.build(trial, tmp_path / "kept.onnx", excluded=["second"])
    workbench.build(trial.model_copy(update={"per_channel": True}), tmp_path / "other.onnx")


def test_a_shield_changes_no_answer(tmp_path: Path) -> None:
    data = normal(16, 8, 4, 4, seed=5)
    onnx.save(net_with_a_delicate_layer(), tmp_path / "float.onnx")
    workbench = Workbench(tmp_path / "float.onnx", tmp_path, {"x": data[:1]}, {"x": data}, 1, 1)
    trial = Trial(mode="Static", activation="U8", reduce_range=True, calibration_method="MinMax")
    workbench.build(trial, tmp_path / "q.onnx")
    model = onnx.load(tmp_path / "q.onnx")
    before = answers(model, data)

    assert shield(model, ["no such node"]) == 0
    assert shield(model, ["second", "third"]) == 2

    assert abs(answers(model, data) - before).max() <= 0.02 * abs(before).max()
