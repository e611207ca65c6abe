"""How does a model lie on disk? In one file; with its weights in a second one beside it where they are many."""

import math
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper

EXTERNAL_ABOVE = 1_500_000_000
"""Bytes of weights: protobuf writes no message of 2 GB, and a graph grows while it is worked on."""
_SUFFIX = ".data"


def data_file(path: Path) -> Path:
    """Where the weights of the model at ``path`` lie if they are apart."""
    return path.with_name(path.name + _SUFFIX)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` to ``path`` in place of what lies there, large ones in two files. Raises OSError."""
    remove(path)
    if weight_bytes(model) <= EXTERNAL_ABOVE:
        onnx.save(model, path)
        return
    onnx.save(model, path, save_as_external_data=True, location=data_file(path).name)
    # Saving leaves the tensors without their values and with a place that only holds in that folder.
    onnx.load_external_data_for_model(model, str(path.parent))


def copy(source: Path, target: Path) -> None:
    """Write the model at ``source`` to ``target``, the second file under a name that fits, too. Raises OSError."""
    if size(source) <= EXTERNAL_ABOVE and not data_file(source).exists():
        remove(target)
        shutil.copyfile(source, target)
    else:
        save(onnx.load(source), target)


def remove(path: Path) -> None:
    """Delete the model's files, as far as they are there. Raises OSError."""
    path.unlink(missing_ok=True)
    data_file(path).unlink(missing_ok=True)


def size(path: Path) -> int:
    """The bytes of its files. Raises OSError."""
    return sum(file.stat().st_size for file in (path, data_file(path)) if file.exists())


def is_large(path: Path) -> bool:
    """Whether onnxruntime must write what it makes of the model in two files."""
    return size(path) > EXTERNAL_ABOVE


def weight_bytes(model: onnx.ModelProto) -> int:
    """The bytes of all weights, from their shapes: a message of more than 2 GB cannot be measured as a whole."""
    return sum(_bytes(tensor) for tensor in model.graph.initializer)


def _bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return 0
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
