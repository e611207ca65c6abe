"""Repairing ranges before quantization and biases after it, on graphs whose flaw is known."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphs import Array, answers, graph, node, normal, uneven, weight
from modelyard_compressor.activations import observe
from modelyard_compressor.bias import correct_biases, give_biases
from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.repair import repair
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench

IMAGES = normal(64, 3, 8, 8, seed=3)
PLAIN = Trial(mode="Static", activation="U8", per_channel=True, reduce_range=True, calibration_method="MinMax")
REPAIRED = PLAIN.model_copy(update={"range_repair": True})


def uneven_net() -> onnx.ModelProto:
    factors = uneven(16, 300)
    return graph(
        [
            node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "w1", "b1"], ["c"], "second", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["y"], "out"),
        ],
        {
            "w0": normal(16, 3, 3, 3, scale=0.3) * factors.reshape(-1, 1, 1, 1),
            "w1": normal(8, 16, 3, 3, seed=1, scale=0.3) / factors.reshape(1, -1, 1, 1),
            "b1": normal(8, seed=2),
        },
        ["batch", 3, 8, 8],
    )


def bench(model: onnx.ModelProto, folder: Path) -> Workbench:
    onnx.save(model, folder / "float.onnx")
    return Workbench(folder / "float.onnx", folder, {"x": IMAGES[:2]}, {"x": IMAGES}, 1, 1)


def decibels(exact: Array, rounded: Array) -> float:
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - rounded).sum()))


def test_uneven_channels_cost_little_once_they_are_repaired(tmp_path: Path) -> None:
    workbench = bench(uneven_net(), tmp_path)
    fresh = normal(32, 3, 8, 8, seed=4)
    exact = answers(workbench.float_model, fresh)

    noise = {}
    for trial in (PLAIN, REPAIRED):
        workbench.build(trial, tmp_path / "q.onnx")
        noise[trial.range_repair] = decibels(exact, answers(tmp_path / "q.onnx", fresh))

    assert noise[False] < 15
    assert noise[True] > 25


def test_a_repaired_model_that_answers_differently_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workbench = bench(uneven_net(), tmp_path)
    monkeypatch.setattr("modelyard_compressor.repair._TOLERANCE", 0.0)

    with pytest.raises(CompressionError, match=r"rangeRepair: \[false\]") as caught:
        repair(workbench.float_model, tmp_path / "even.onnx", workbench.probe, workbench.reader(), tmp_path, 1)
    assert caught.value.reason == "RangeRepairFailed"


def test_a_shift_of_the_mean_output_is_taken_back(tmp_path: Path) -> None:
    # Weights that all round the same way, and inputs that are never negative: the roundings add up.
    weights = np.full((4, 6, 1, 1), 0.49, np.float32)
    weights[:, 0] = 127
    model = graph(
        [node("Conv", ["x", "w"], ["a"], "conv"), node("Identity", ["a"], ["y"], "out")],
        {"w": weights},
        ["batch", 6, 4, 4],
    )
    data = np.abs(normal(32, 6, 4, 4, seed=1))
    onnx.save(model, tmp_path / "float.onnx")
    workbench = Workbench(tmp_path / "float.onnx", tmp_path, {"x": data[:1]}, {"x": data}, 1, 1)
    exact = answers(model, data)

    shift = {}
    for trial in (PLAIN, REPAIRED):
        workbench.build(trial, tmp_path / "q.onnx")
        shift[trial.range_repair] = abs(float((answers(tmp_path / "q.onnx", data) - exact).mean()))

    assert shift[False] > 1
    assert shift[True] < 0.1 * shift[False]


def test_layers_without_a_bias_get_one_that_changes_nothing() -> None:
    model = graph(
        [
            node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["a"], ["b"]),
            node("Flatten", ["b"], ["c"]),
            node("Gemm", ["c", "head"], ["y"], transB=1),
        ],
        {"w": normal(8, 3, 3, 3), "head": normal(10, 8, seed=1)},
        ["batch", 3, 8, 8],
    )
    before = answers(model, IMAGES)

    give_biases(model)

    assert [weight(model, name).shape for name in ("a.bias", "y.bias")] == [(8,), (10,)]
    np.testing.assert_array_equal(answers(model, IMAGES), before)


def test_a_float_model_has_no_biases_to_correct() -> None:
    model = uneven_net()

    assert correct_biases(model, model, {"x": np.ones(3, np.float32)}) == 0


def test_channels_are_seen_over_all_items(tmp_path: Path) -> None:
    data = normal(12, 3, 8, 8, seed=6)
    model = graph([node("Identity", ["x"], ["y"])], {}, ["batch", 3, 8, 8])

    seen = observe(model, {"y": 1}, CalibrationReader({"x": data}, batch=4), tmp_path, 1)["y"]

    np.testing.assert_allclose(seen.largest, np.abs(data).max(axis=(0, 2, 3)))
    np.testing.assert_allclose(seen.mean, data.mean(axis=(0, 2, 3)), atol=1e-6)
