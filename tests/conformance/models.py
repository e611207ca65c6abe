"""The models that the conformance suite asks, as ONNX files. A server under test must hold them by these names."""

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import NodeProto, TensorProto, helper

from modelyard.contract.artifact import Datatype, TensorSpec

ONNX_TYPES: Mapping[str, int] = {
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
}


@dataclass(frozen=True)
class ModelSource:
    """A model as a graph and a signature."""

    nodes: list[NodeProto]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]

    def onnx(self) -> bytes:
        """The ONNX file."""
        inputs, outputs = (
            [
                helper.make_tensor_value_info(
                    spec.name, ONNX_TYPES[spec.datatype], [None if size == -1 else size for size in spec.shape]
                )
                for spec in specs
            ]
            for specs in (self.inputs, self.outputs)
        )
        graph = helper.make_graph(self.nodes, "conformance", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        data: bytes = model.SerializeToString()
        return data


def tensor(name: str, datatype: Datatype, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=list(shape))


NUMBERS: Mapping[str, Datatype] = {
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "f32": "FP32",
    "f64": "FP64",
}
MODELS: Mapping[str, ModelSource] = {
    # Triton's examples and their clients use this one: sum and difference.
    "simple": ModelSource(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [tensor("INPUT0", "INT32", -1, 16), tensor("INPUT1", "INT32", -1, 16)],
        [tensor("OUTPUT0", "INT32", -1, 16), tensor("OUTPUT1", "INT32", -1, 16)],
    ),
    "double": ModelSource(
        [helper.make_node("Add", ["x", "x"], ["y"])], [tensor("x", "FP32", -1, 4)], [tensor("y", "FP32", -1, 4)]
    ),
    "types": ModelSource(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("flag", "text", "half")],
        [tensor("flag", "BOOL", -1), tensor("text", "BYTES", -1), tensor("half", "FP16", -1)],
        [tensor("flag_out", "BOOL", -1), tensor("text_out", "BYTES", -1), tensor("half_out", "FP16", -1)],
    ),
    "numbers": ModelSource(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in NUMBERS],
        [tensor(name, datatype, -1) for name, datatype in NUMBERS.items()],
        [tensor(f"{name}_out", datatype, -1) for name, datatype in NUMBERS.items()],
    ),
    "brain": ModelSource(
        [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", "BF16", -1, 2)], [tensor("y", "BF16", -1, 2)]
    ),
}
