"""What does onnxruntime really execute, once it has fused the graph? The share of the work that is in integers."""

from collections.abc import Collection, Iterator
from pathlib import Path

import onnx
import onnxruntime
from pydantic import TypeAdapter

from modelyard.contract.base import Document
from modelyard_compressor import model_files
from modelyard_compressor.macs import FLOAT, INTEGER, macs
from modelyard_compressor.sessions import Feed, session_options

_KERNEL = "_kernel_time"
_EVENTS = TypeAdapter(list[dict[str, object]])
_SHAPES = TypeAdapter(list[dict[str, list[int]]])


class Execution(Document):
    """The multiply-accumulates of one run."""

    int8_mac_share: float
    """Those on integers of at most 8 bits, from 0 to 1."""
    float_operators: list[str]
    """Nodes with a weight, or with a product of activations, that ran in float, as ``name (operator)``."""

    def unasked(self, excluded: Collection[str]) -> list[str]:
        """The float operators that nobody left out."""
        return [text for text in self.float_operators if text.rpartition(" (")[0] not in excluded]


def execute(path: Path, feed: Feed, scratch: Path) -> Execution:
    """Run ``feed`` through the model at ``path`` and count.

    Fusion is as in the server, but the memory layouts chosen for a CPU are left out: they change no type. Raises
    onnxruntime's exceptions.
    """
    fused = scratch / f"{path.stem}-fused.onnx"
    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(fused)
    if model_files.is_large(path):
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", model_files.data_file(fused).name
        )
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / f"{path.stem}-profile")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    profile = Path(session.end_profiling())
    execution = _counted(onnx.load(fused), _EVENTS.validate_json(profile.read_bytes()))
    profile.unlink()
    model_files.remove(fused)
    return execution


def _counted(fused: onnx.ModelProto, events: list[dict[str, object]]) -> Execution:
    nodes = {node.name: node for node in _all_nodes(fused.graph)}
    weights = {tensor.name: tuple(tensor.dims) for graph in _graphs(fused.graph) for tensor in graph.initializer}
    integer = total = 0
    floats: dict[str, None] = {}
    for event in events:
        name = str(event.get("name", ""))
        node = nodes.get(name.removesuffix(_KERNEL))
        details = event.get("args")
        if not name.endswith(_KERNEL) or node is None or not isinstance(details, dict):
            continue
        taken, made = _first_shape(details.get("input_type_shape")), _first_shape(details.get("output_type_shape"))
        work = macs(node, taken, made, weights)
        total += work
        if node.op_type in INTEGER:
            integer += work
        elif node.op_type in FLOAT:
            floats[f"{node.name} ({node.op_type})"] = None
    return Execution(int8_mac_share=integer / total if total else 0.0, float_operators=list(floats))


def _first_shape(shapes: object) -> list[int]:
    parsed = _SHAPES.validate_python(shapes or [])
    return next(iter(parsed[0].values())) if parsed else []


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for each in node.attribute:
            for inner in [*([each.g] if each.HasField("g") else []), *each.graphs]:
                yield from _graphs(inner)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for each in _graphs(graph):
        yield from each.node
