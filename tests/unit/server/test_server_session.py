from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from tests.conformance.models import MODELS

from modelyard.contract.artifact import Lineage, TensorSpec
from modelyard.contract.digest import digest_of_bytes
from modelyard.contract.runs import ArtifactPlace, ServeRun
from modelyard.storage import artifacts
from modelyard_server.errors import RequestError, StartError
from modelyard_server.session import Model, open_model
from modelyard_server.start import started
from modelyard_server.tensors import Tensor
from modelyard_server.warm_up import unlike_rows, zeros

Publish = Callable[[bytes, list[TensorSpec], list[TensorSpec]], ServeRun]

INDEX = TensorSpec(name="index", datatype="INT64", shape=[-1])
VALUE = TensorSpec(name="value", datatype="FP32", shape=[-1])
IMAGE = TensorSpec(name="image", datatype="FP32", shape=[-1, 1, -1, -1])
MAP = TensorSpec(name="map", datatype="FP32", shape=[-1, 1, -1, -1])
TEXT = TensorSpec(name="text", datatype="BYTES", shape=[-1])
SAME = TensorSpec(name="same", datatype="BYTES", shape=[-1])


def model(
    node: NodeProto, given: TensorSpec, found: TensorSpec, constant: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> bytes:
    types = {"INT64": TensorProto.INT64, "FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    ends = [
        helper.make_tensor_value_info(
            spec.name, types[spec.datatype], [None if size == -1 else size for size in spec.shape]
        )
        for spec in (given, found)
    ]
    graph = helper.make_graph([node], "test", ends[:1], ends[1:], [numpy_helper.from_array(constant, "constant")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = proto.SerializeToString()
    return data


def load(run: ServeRun) -> Model:
    return started(run)[0]


GATHER = model(
    helper.make_node("Gather", ["constant", "index"], ["value"]), INDEX, VALUE, np.arange(3, dtype=np.float32)
)


def test_outputs_come_in_the_order_asked_for(publish: Publish) -> None:
    loaded = load(publish(GATHER, [INDEX], [VALUE]))
    assert [tensor.tolist() for tensor in loaded.run({"index": np.array([2, 0])}, ["value"])] == [[2, 0]]


def test_weights_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    onnx.save(
        onnx.load_from_string(GATHER), folder / "model.onnx", save_as_external_data=True,
        location="model.onnx.data", size_threshold=0,
    )  # fmt: skip
    lineage = Lineage(kind="CompressionJob", name="large", namespace="test", spec_digest=digest_of_bytes(b""))
    manifest = artifacts.manifest_of(folder, [INDEX], [VALUE], {}, {}, lineage)
    reference = artifacts.publish(folder, manifest, f"file://{tmp_path}/store")

    loaded = load(ServeRun(name="large", artifact=ArtifactPlace(uri=reference.uri, digest=reference.digest)))

    assert [file.path for file in manifest.files] == ["model.onnx", "model.onnx.data"]
    assert loaded.run({"index": np.array([2, 0])}, ["value"])[0].tolist() == [2, 0]


def test_texts_go_through_the_model(publish: Publish) -> None:
    identity = model(helper.make_node("Identity", ["text"], ["same"]), TEXT, SAME, np.zeros(1, np.float32))
    loaded = load(publish(identity, [TEXT], [SAME]))
    assert loaded.run({"text": np.array(["é", ""], object)}, ["same"])[0].tolist() == ["é", ""]


def test_values_that_the_model_refuses_are_the_clients_mistake(publish: Publish) -> None:
    loaded = load(publish(GATHER, [INDEX], [VALUE]))
    with pytest.raises(RequestError, match="the model refuses the values or sizes of these inputs"):
        loaded.run({"index": np.array([3])}, ["value"])


def bits(tensors: Sequence[Tensor]) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(str(tensor.dtype), tensor.shape, tensor.tobytes()) for tensor in tensors]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "types"])
def test_a_bound_run_gives_the_same_bits(publish: Publish, name: str) -> None:
    source = MODELS[name]
    loaded = load(publish(source.onnx(), source.inputs, source.outputs))
    inputs = unlike_rows(source.inputs, 3)
    names = [spec.name for spec in reversed(source.outputs)]
    found = loaded.run_bound(inputs, names)
    before = bits(found)
    loaded.run_bound(zeros(source.inputs, 3), names)  # which writes nothing where those results lie
    assert before == bits(found) == bits(loaded.run(inputs, names))


class OnADevice(ort.InferenceSession):  # type: ignore[misc]
    """Says that the model has a device of its own, and counts the runs that are bound."""

    bound = 0

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run_with_iobinding(self, *arguments: Any) -> None:
        self.bound += 1
        super().run_with_iobinding(*arguments)


def test_a_model_on_a_device_is_bound_and_its_refusals_are_the_clients_mistake(publish: Publish) -> None:
    loader = open_model(publish(GATHER, [INDEX], [VALUE]))
    session = OnADevice(loader.file)
    loaded = Model(session, loader.signature, 1)
    found = loaded.run({"index": np.arange(4)[::2]}, ["value"])
    assert ([tensor.tolist() for tensor in found], session.bound) == ([[0, 2]], 1)
    with pytest.raises(RequestError, match="the model refuses the values or sizes of these inputs"):
        loaded.run({"index": np.array([3])}, ["value"])


def test_texts_are_not_bound(publish: Publish) -> None:
    source = MODELS["types"]
    loader = open_model(publish(source.onnx(), source.inputs, source.outputs))
    session = OnADevice(loader.file)
    inputs = unlike_rows(source.inputs, 2)
    (found,) = Model(session, loader.signature, 1).run(inputs, ["text_out"])
    assert (found.tolist(), session.bound) == (inputs["text"].tolist(), 0)


@pytest.mark.parametrize(
    ("data", "inputs", "outputs", "error"),
    [
        (b"no model", [INDEX], [VALUE], "does not load: "),
        (
            GATHER,
            [INDEX],
            [VALUE.model_copy(update={"datatype": "FP64"})],
            "output 'value' is float32, the manifest says FP64",
        ),
        (GATHER, [INDEX], [SAME], "does not load: "),
        (GATHER, [TEXT], [VALUE], "does not load: "),
    ],
)
def test_a_model_that_is_not_what_its_manifest_says_does_not_load(
    publish: Publish, data: bytes, inputs: list[TensorSpec], outputs: list[TensorSpec], error: str
) -> None:
    run = publish(data, inputs, outputs)
    with pytest.raises(StartError, match=error) as failed:
        load(run)
    assert failed.value.reason == "ModelLoadFailed"
    assert str(failed.value).startswith(f"{run.artifact.uri}/model.onnx (sha256:")


def test_a_warm_up_with_guessed_sizes_may_fail(publish: Publish, caplog: pytest.LogCaptureFixture) -> None:
    convolution = model(
        helper.make_node("Conv", ["image", "constant"], ["map"]), IMAGE, MAP, np.ones((1, 1, 3, 3), np.float32)
    )
    loaded = load(publish(convolution, [IMAGE], [MAP]))
    assert "digits: warm-up with 1 rows skipped" in caplog.text
    assert loaded.run({"image": np.ones((1, 1, 3, 3), np.float32)}, ["map"])[0].tolist() == [[[[9]]]]
