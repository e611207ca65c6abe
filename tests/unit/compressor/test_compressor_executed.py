"""The share of the work in integers is that of the graph that onnxruntime executes."""

from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from graphs import Array, graph, node, normal
from modelyard_compressor.executed import Execution, execute
from modelyard_compressor.macs import macs
from modelyard_compressor.trials import Trial
from modelyard_compressor.workbench import Workbench

IMAGE = normal(16, 3, 8, 8, seed=3)
STATIC = Trial(mode="Static", activation="U8", per_channel=True, reduce_range=True, calibration_method="MinMax")


def conv_net() -> onnx.ModelProto:
    return graph(
        [
            node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "w1"], ["c"], "second", pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["c"], ["d"], "pool"),
            node("Flatten", ["d"], ["e"], "flatten"),
            node("MatMul", ["e", "head"], ["y"], "head"),
        ],
        {"w0": normal(8, 3, 3, 3), "w1": normal(8, 8, 3, 3, seed=1), "head": normal(8, 10, seed=2)},
        ["batch", 3, 8, 8],
    )


FIRST, SECOND, HEAD = 8 * 64 * 27, 8 * 64 * 72, 80


def bench(model: onnx.ModelProto, folder: Path, data: Array = IMAGE) -> Workbench:
    onnx.save(model, folder / "float.onnx")
    return Workbench(folder / "float.onnx", folder, {"x": data[:1]}, {"x": data}, 1, 1)


def test_a_float_net_runs_in_float(tmp_path: Path) -> None:
    workbench = bench(conv_net(), tmp_path)

    assert execute(workbench.float_model, workbench.probe, tmp_path) == Execution(
        int8_mac_share=0.0, float_operators=["first (FusedConv)", "second (Conv)", "head (MatMul)"]
    )


def test_a_static_net_runs_in_integers(tmp_path: Path) -> None:
    workbench = bench(conv_net(), tmp_path)
    workbench.build(STATIC, tmp_path / "q.onnx")

    assert execute(tmp_path / "q.onnx", workbench.probe, tmp_path) == Execution(int8_mac_share=1.0, float_operators=[])


def test_what_a_dynamic_trial_leaves_in_float_is_named(tmp_path: Path) -> None:
    onnx.save(conv_net(), tmp_path / "float.onnx")
    quantize_dynamic(
        tmp_path / "float.onnx", tmp_path / "q.onnx", op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
    )

    execution = execute(tmp_path / "q.onnx", {"x": IMAGE[:1]}, tmp_path)

    assert execution.int8_mac_share == pytest.approx(HEAD / (FIRST + SECOND + HEAD))
    assert execution.unasked(excluded=["first"]) == ["second (Conv)"]


def test_an_excluded_node_runs_in_float_though_onnxruntime_would_quantize_it(tmp_path: Path) -> None:
    workbench = bench(conv_net(), tmp_path)
    workbench.build(STATIC, tmp_path / "q.onnx", excluded=["second"])

    execution = execute(tmp_path / "q.onnx", workbench.probe, tmp_path)

    assert execution.int8_mac_share == pytest.approx((FIRST + HEAD) / (FIRST + SECOND + HEAD))
    assert execution.float_operators == ["second (Conv)"]
    assert execution.unasked(excluded=["second"]) == []


def test_the_same_file_is_left_behind_as_before(tmp_path: Path) -> None:
    workbench = bench(conv_net(), tmp_path)
    execute(workbench.float_model, workbench.probe, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]


@pytest.mark.parametrize(
    ("operator", "inputs", "taken", "made", "weights", "work"),
    [
        ("Conv", ["x", "w"], [2, 6, 8, 8], [2, 4, 8, 8], {"w": (4, 3, 3, 3)}, 2 * 4 * 64 * 27),
        ("QLinearConv", ["x", "s", "z", "w"], [1, 3, 8, 8], [1, 4, 8, 8], {"w": (4, 3, 3, 3)}, 4 * 64 * 27),
        ("ConvTranspose", ["x", "w"], [1, 3, 4, 4], [1, 5, 8, 8], {"w": (3, 5, 2, 2)}, 3 * 16 * 5 * 4),
        ("MatMul", ["x", "v"], [2, 7, 3], [2, 7, 5], {"v": (3, 5)}, 2 * 7 * 3 * 5),
        ("LSTM", ["x", "w", "r"], [7, 2, 3], [7, 1, 2, 5], {"w": (1, 20, 3), "r": (1, 20, 5)}, 7 * 2 * (60 + 100)),
        ("Attention", ["x", "w"], [2, 7, 4], [2, 7, 4], {"w": (4, 12)}, 2 * 7 * 48 + 2 * 2 * 7 * 7 * 4),
        ("Relu", ["x"], [2, 7], [2, 7], {}, 0),
    ],
)
def test_the_work_of_an_operator(
    operator: str, inputs: list[str], taken: list[int], made: list[int], weights: dict[str, tuple[int, ...]], work: int
) -> None:
    assert macs(node(operator, inputs, ["y"]), taken, made, weights) == work


def test_a_transposed_gemm_counts_its_rows() -> None:
    assert macs(node("Gemm", ["x", "w"], ["y"], transA=1), [3, 2], [2, 5], {"w": (3, 5)}) == 2 * 3 * 5
