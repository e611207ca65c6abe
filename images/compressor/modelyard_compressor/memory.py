"""How much memory will this job take at its most, and may the pod take that much? Told before the work begins."""

import math
from pathlib import Path

import onnx

from modelyard.contract.compression import MemoryReport
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.shapes import Shapes, infer_shapes

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of cgroup v2 and of v1, as a container sees its own."""
_UNLIMITED = 1 << 60
"""v1 writes the largest multiple of a page where there is no limit."""

# Measured on networks of 10 kB to 100 MB with 1 to 4 trials: tests/local/test_compression_memory.py holds them to it.
_PROGRAMS = 170 << 20
"""The interpreter, onnxruntime, onnx and what draws the report."""
_COPIES = 6.5
"""Of the model: graphs as protobuf, their serialised form, and sessions that each pack the weights again."""
_COPIES_BY_TRIAL = 0.4
"""Each candidate stays loaded until all are measured in turns; a quarter of the source and a packed copy."""
_WATCHED = 5
"""Of all activations of one item, while the noise of each layer is measured in both models."""
_ALIVE = 3
"""Of the largest activation of a batch, in each model that is loaded: what a session keeps for its next run."""
_FLOAT_BYTES = 4


def at_least(model_bytes: int) -> int:
    """What a model of that size takes, whatever is in it: known before it is read."""
    return int(_PROGRAMS + model_bytes * _COPIES)


def estimate(graph: onnx.ModelProto, model_bytes: int, inputs: Shapes, data_bytes: int, trials: int, batch: int) -> int:
    """The most bytes that the job will take, within about a third.

    ``graph`` is the model's outline, ``inputs`` are the shapes of one item, ``data_bytes`` is the size of all samples,
    and ``batch`` the largest batch that is measured. Activations whose shapes ONNX cannot infer count as nothing.
    """
    made_by_nodes = {name for node in graph.graph.node for name in node.output}
    shapes = infer_shapes(graph, inputs)
    made = [_FLOAT_BYTES * math.prod(shape) for name, shape in shapes.items() if name in made_by_nodes]
    item = max((shape[0] for shape in inputs.values() if shape), default=1)
    graphs = model_bytes * (_COPIES + _COPIES_BY_TRIAL * trials)
    sessions = _ALIVE * max(made, default=0) * batch / item * (1 + trials)
    return int(_PROGRAMS + graphs + _WATCHED * sum(made) + sessions + data_bytes)


def within_limit(estimate_bytes: int, limit_bytes: int | None) -> MemoryReport:
    """Both in one. Raises CompressionError (MemoryTooSmall) where the limit is lower."""
    report = MemoryReport(estimate_bytes=estimate_bytes, limit_bytes=limit_bytes)
    if limit_bytes is not None and limit_bytes < estimate_bytes:
        raise CompressionError(
            "MemoryTooSmall",
            f"spec.target.resources.limits.memory: the pod may take {limit_bytes >> 20} Mi, and this job needs about "
            f"{estimate_bytes >> 20} Mi; raise the limit, or lower search.maxTrials or target.batchSizes",
            report,
        )
    return report


def memory_limit() -> int | None:
    """What the kernel allows this pod; None where it sets no limit or tells none."""
    path = next((path for path in _LIMITS if path.is_file()), None)
    return parse_limit(path.read_text()) if path else None


def parse_limit(text: str) -> int | None:
    """The limit in the text of ``memory.max`` or ``memory.limit_in_bytes``."""
    word = text.strip()
    return int(word) if word.isdigit() and int(word) < _UNLIMITED else None
