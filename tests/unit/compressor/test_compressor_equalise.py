"""Channel ranges are evened out, and the function stays the same."""

import numpy as np
import onnx
import pytest

from graphs import Array, answers, graph, node, normal, uneven, weight
from modelyard_compressor.channels import groups
from modelyard_compressor.equalise import equalise
from modelyard_compressor.shapes import infer_shapes

IMAGE = normal(4, 3, 8, 8, seed=9)


def pair(*between: onnx.NodeProto, factors: Array | None = None) -> onnx.ModelProto:
    """Two convolutions with ``between`` from t to u in between, the first one's channels times ``factors``."""
    scale = np.ones(6, np.float32) if factors is None else factors
    return graph(
        [
            node("Conv", ["x", "w1", "b1"], ["t"], "first", pads=[1, 1, 1, 1]),
            *(between or (node("Relu", ["t"], ["u"]),)),
            node("Conv", ["u", "w2", "b2"], ["v"], "second", pads=[1, 1, 1, 1]),
            node("Sigmoid", ["v"], ["y"]),
        ],
        {
            "w1": normal(6, 3, 3, 3) * scale.reshape(-1, 1, 1, 1),
            "b1": normal(6, seed=1) * scale,
            "w2": normal(5, 6, 3, 3, seed=2) / scale.reshape(1, -1, 1, 1),
            "b2": normal(5, seed=3),
        },
        ["batch", 3, 8, 8],
    )


def repaired(model: onnx.ModelProto, x: Array, activations: dict[str, Array] | None = None) -> int:
    """Equalise, and check that the answers stay."""
    before = answers(model, x)
    changed = equalise(model, infer_shapes(model, {"x": x.shape}), activations)
    np.testing.assert_allclose(answers(model, x), before, atol=1e-4 * np.abs(before).max())
    return changed


def unevenness(values: Array, axis: int) -> float:
    others = tuple(each for each in range(values.ndim) if each != axis)
    ranges = np.abs(values).max(axis=others)
    return float(ranges.max() / ranges.min())


@pytest.mark.parametrize(
    "between",
    [
        [node("Relu", ["t"], ["u"])],
        [node("LeakyRelu", ["t"], ["s"], alpha=0.1), node("MaxPool", ["s"], ["u"], kernel_shape=[2, 2])],
        [node("Identity", ["t"], ["u"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_uneven_channels_between_two_layers_become_even(between: list[onnx.NodeProto]) -> None:
    model = pair(*between, factors=uneven(6))

    assert repaired(model, IMAGE) == 1

    assert unevenness(weight(model, "w1"), 0) < 4
    assert unevenness(weight(model, "w2"), 1) < 4


@pytest.mark.parametrize(
    "between",
    [
        [node("Clip", ["t", "low", "high"], ["u"])],
        [node("Sigmoid", ["t"], ["u"])],
        [node("Softmax", ["t"], ["u"], axis=1)],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_what_a_scale_cannot_cross_stays(between: list[onnx.NodeProto]) -> None:
    model = pair(*between, factors=uneven(6))
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(np.array(at, np.float32), name) for at, name in ((0, "low"), (6, "high"))]
    )

    assert repaired(model, IMAGE) == 0


def test_a_tensor_that_the_graph_gives_out_stays() -> None:
    model = pair(factors=uneven(6))
    model.graph.output.append(onnx.helper.make_tensor_value_info("u", onnx.TensorProto.FLOAT, None))

    assert repaired(model, IMAGE) == 0


def test_a_weight_of_two_layers_stays() -> None:
    model = pair(factors=uneven(6))
    model.graph.node.append(node("Conv", ["x", "w1"], ["elsewhere"], "other"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("elsewhere", onnx.TensorProto.FLOAT, None))

    assert repaired(model, IMAGE) == 0


def test_all_ends_of_a_residual_stream_share_one_scale() -> None:
    factors = uneven(4)
    column, row = factors.reshape(-1, 1, 1, 1), factors.reshape(1, -1, 1, 1)
    model = graph(
        [
            node("Conv", ["x", "w0"], ["s0"], pads=[1, 1, 1, 1]),
            node("Conv", ["s0", "w1"], ["t"], pads=[1, 1, 1, 1]),
            node("Relu", ["t"], ["u"]),
            node("Conv", ["u", "w2"], ["d"], pads=[1, 1, 1, 1]),
            node("Add", ["s0", "d"], ["s1"]),
            node("GlobalAveragePool", ["s1"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "head"], ["y"], transB=1),
        ],
        {
            "w0": normal(4, 3, 3, 3) * column,
            "w1": normal(6, 4, 3, 3, seed=1) / row,
            "w2": normal(4, 6, 3, 3, seed=2) * column,
            "head": normal(10, 4, seed=3) / factors,
        },
        ["batch", 3, 8, 8],
    )

    stream, inner = groups(model, infer_shapes(model, {"x": (4, 3, 8, 8)}))
    assert {slot.weight for slot in stream.makers} == {"w0", "w2"}
    assert {slot.weight for slot in stream.takers} == {"w1", "head"}
    assert set(inner.tensors) == {"t", "u"}
    assert repaired(model, IMAGE) == 2
    assert unevenness(weight(model, "w0"), 0) < 4
    assert unevenness(weight(model, "head"), 1) < 10


def depthwise(factors: Array) -> onnx.ModelProto:
    column = factors.reshape(-1, 1, 1, 1)
    return graph(
        [
            node("Conv", ["x", "expand", "b"], ["t"]),
            node("Relu", ["t"], ["u"]),
            node("Conv", ["u", "depth"], ["v"], group=6, pads=[1, 1, 1, 1]),
            node("Relu", ["v"], ["w"]),
            node("Conv", ["w", "project"], ["y"]),
        ],
        {
            "expand": normal(6, 3, 1, 1) * column,
            "b": normal(6, seed=4) * factors,
            "depth": normal(6, 1, 3, 3, seed=1) / column,
            "project": normal(5, 6, 1, 1, seed=2),
        },
        ["batch", 3, 8, 8],
    )


def test_a_depthwise_layer_is_evened_out_on_both_sides() -> None:
    model = depthwise(uneven(6))
    assert unevenness(weight(model, "depth"), 0) > 1000

    assert repaired(model, IMAGE) == 2

    assert unevenness(weight(model, "expand"), 0) < 4
    assert unevenness(weight(model, "depth"), 0) < 4


def test_before_a_depthwise_layer_alone_activations_become_equal() -> None:
    model = depthwise(uneven(6))
    seen = first_layer_ranges(model)

    repaired(model, IMAGE, {"t": seen})

    after = first_layer_ranges(model)
    assert after.max() / after.min() < 1.01


def test_channels_behind_a_flatten_are_blocks_of_features() -> None:
    factors = uneven(6)
    model = graph(
        [
            node("Conv", ["x", "w"], ["t"]),
            node("Relu", ["t"], ["u"]),
            node("Flatten", ["u"], ["f"]),
            node("MatMul", ["f", "head"], ["y"]),
        ],
        {
            "w": normal(6, 3, 1, 1) * factors.reshape(-1, 1, 1, 1),
            "head": normal(6 * 64, 10, seed=1) / np.repeat(factors, 64)[:, None],
        },
        ["batch", 3, 8, 8],
    )

    assert repaired(model, IMAGE) == 1
    assert unevenness(weight(model, "w"), 0) < 5


def test_outlier_channels_behind_a_layer_norm_move_into_the_weights_that_take_them() -> None:
    gamma = np.ones(8, np.float32)
    gamma[3] = 200
    matrix = normal(8, 8, seed=1)
    matrix[3] /= 200
    model = graph(
        [
            node("LayerNormalization", ["x", "gamma", "beta"], ["n"], axis=-1),
            node("MatMul", ["n", "q"], ["a"]),
            node("MatMul", ["n", "k"], ["c"]),
            node("Mul", ["a", "c"], ["y"]),
        ],
        {"gamma": gamma, "beta": normal(8, seed=2), "q": matrix, "k": matrix[:, ::-1]},
        ["batch", 5, 8],
    )

    assert repaired(model, normal(2, 5, 8, seed=7), {"n": gamma * 2}) == 1
    assert weight(model, "gamma").max() / weight(model, "gamma").min() < 3


def test_channels_that_two_nodes_look_for_on_different_axes_stay() -> None:
    model = graph(
        [
            node("MatMul", ["x", "m"], ["t"]),
            node("Relu", ["t"], ["u"]),
            node("Conv", ["u", "w"], ["y"]),
        ],
        {"m": normal(6, 6) * uneven(6), "w": normal(3, 6, 1, seed=1)},
        ["batch", 6, 6],
    )

    assert repaired(model, normal(2, 6, 6)) == 0


def test_a_dead_channel_keeps_its_scale() -> None:
    model = pair(factors=uneven(6))
    dead = weight(model, "w1").copy()
    dead[2] = 0
    next(each for each in model.graph.initializer if each.name == "w1").CopyFrom(
        onnx.numpy_helper.from_array(dead, "w1")
    )

    assert repaired(model, IMAGE) == 1
    assert np.isfinite(weight(model, "w2")).all()


def first_layer_ranges(model: onnx.ModelProto) -> Array:
    weights = {each.name: weight(model, each.name) for each in model.graph.initializer}
    first = answers(graph(model.graph.node[:1], weights, ["batch", 3, 8, 8], "t"), IMAGE)
    ranges: Array = np.abs(first).max(axis=(0, 2, 3))
    return ranges
