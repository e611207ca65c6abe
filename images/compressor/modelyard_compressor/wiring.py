"""How do the nodes of a graph hang together? Who makes a tensor, who takes it, and which tensors are weights."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[np.float32]


class Wiring:
    """Look-ups by tensor name in one graph; built once, so the graph's edges must not change meanwhile."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.outputs = {value.name for value in graph.output}
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.consumers.setdefault(name, []).append(node)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self.hidden = set(_names_in_subgraphs(self.nodes))
        """Tensors that the body of an If, Loop or Scan may take without naming them as inputs."""

    def is_weight(self, name: str) -> bool:
        """Whether the tensor is constant."""
        return name in self._weights

    def initializer(self, name: str) -> onnx.TensorProto | None:
        """The constant of that name, which may be changed in place."""
        return self._weights.get(name)

    def weight(self, name: str) -> Array | None:
        """The values of a float32 initializer; None for any other tensor."""
        tensor = self._weights.get(name)
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(tensor)

    def own_weight(self, name: str) -> Array | None:
        """As ``weight``, but None too where more than one node takes it, or the graph gives it out."""
        shared = len(self.consumers.get(name, ())) != 1 or name in self.outputs | self.hidden
        return None if shared else self.weight(name)

    def set_weight(self, name: str, values: Array) -> None:
        """Put other values of the same shape into an initializer, in the graph itself."""
        tensor = self._weights[name]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((each.i for each in node.attribute if each.name == name), default)


def _names_in_subgraphs(nodes: list[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        for each in node.attribute:
            for graph in [*([each.g] if each.HasField("g") else []), *each.graphs]:
                inner = list(graph.node)
                yield from (name for of in inner for name in of.input)
                yield from (value.name for value in graph.output)
                yield from _names_in_subgraphs(inner)
