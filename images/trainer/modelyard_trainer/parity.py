"""Does the exported model answer as the module does, and what are its inputs and outputs?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from modelyard.contract.artifact import Datatype, TensorSpec
from modelyard_trainer.errors import ExportError, ExportMismatchError

BATCH_SIZES = (1, 2, 5, 16)
ABSOLUTE_TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-3
"""|onnx - torch| <= absolute + relative * |torch|, element by element; outputs that are not floats must be equal.

Two libraries add float32 in different orders, which moves a convolutional network's outputs by about 1e-6 to 1e-5."""

_FIXED_BATCH = "but every output needs one row for each row of the inputs, whatever their number"

_DATATYPES: Mapping[str, Datatype] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """The model in onnxruntime on the CPU. Raises ExportError if it does not load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"onnxruntime does not load the exported model: {error}") from error


def signature(session: onnxruntime.InferenceSession) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs in the Open Inference Protocol's terms. Raises ExportError for a type that it lacks."""
    return [_spec(node) for node in session.get_inputs()], [_spec(node) for node in session.get_outputs()]


def largest_difference(
    session: onnxruntime.InferenceSession, module: torch.nn.Module, example: Sequence[torch.Tensor]
) -> float:
    """Compare both on the CPU at each of BATCH_SIZES, made of the example's rows; the largest absolute difference.

    Raises ExportMismatchError beyond the tolerance, and ExportError where a batch size is refused or an output does not
    have as many rows as the inputs.
    """
    input_names = [node.name for node in session.get_inputs()]
    output_names = [node.name for node in session.get_outputs()]
    largest = 0.0
    for size in BATCH_SIZES:
        inputs = [tensor[torch.arange(size) % len(tensor)] for tensor in example]
        feed = {name: tensor.numpy() for name, tensor in zip(input_names, inputs, strict=True)}
        try:
            with torch.inference_mode():
                expected = [output.numpy() for output in leaves(module(*inputs))]
            found = session.run(None, feed)
        except Exception as error:
            raise ExportError(f"the model does not take a batch of {size}, {_FIXED_BATCH}: {error}") from error
        for name, onnx_output, torch_output in zip(output_names, found, expected, strict=True):
            if torch_output.shape[:1] != (size,):
                raise ExportError(f"{name} has the shape {torch_output.shape} at a batch of {size}, {_FIXED_BATCH}")
            largest = max(largest, _difference(name, size, onnx_output, torch_output))
    return largest


def leaves(output: object) -> list[torch.Tensor]:
    """The tensors that ``forward`` returned: one, or those of a tuple, list or dict. Raises ExportError otherwise."""
    match output:
        case torch.Tensor():
            return [output]
        case Mapping():
            parts = list(output.values())
        case tuple() | list():
            parts = list(output)
        case _:
            parts = [output]
    if not parts or not all(isinstance(part, torch.Tensor) for part in parts):
        raise ExportError(
            f"forward returns {type(output).__name__}; it must return a tensor, or a tuple, list or dict of tensors"
        )
    return parts


def _difference(name: str, size: int, found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> float:
    if found.shape != expected.shape:
        raise ExportMismatchError(
            f"{name} has the shape {found.shape} at a batch of {size}, but {expected.shape} in the module"
        )
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(expected.astype(np.float64))
    if not np.issubdtype(expected.dtype, np.floating):
        tolerance = np.zeros_like(difference)
    largest = float(difference.max(initial=0.0))
    if not (difference <= tolerance).all():
        remedy = (
            "an operator is exported wrongly: replace it in forward, and report it to PyTorch"
            if np.isfinite(expected).all()
            else "the module's own output is not finite: did the training diverge?"
        )
        raise ExportMismatchError(
            f"{name} differs by {largest:.3g} from the module at a batch of {size}, more than "
            f"{ABSOLUTE_TOLERANCE:g} + {RELATIVE_TOLERANCE:g} of the value; {remedy}"
        )
    return largest


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise ExportError(f"{node.name} is a {node.type}, which the Open Inference Protocol has no name for")
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return TensorSpec(name=node.name, datatype=datatype, shape=shape)
