"""From a module to ``model.onnx``: one exporter, a dynamic batch dimension, and errors that name the line."""

import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from modelyard_trainer.errors import ExportError

SINGLE_FILE_BYTES = 1_500_000_000
"""Weights above this lie beside the model: a protobuf message ends at 2 GiB."""

_TORCH = Path(torch.__file__).parent
_OWN = Path(__file__).parent
_CODE_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\w+)\n\s+(?P<code>.+)')
_OPERATOR = re.compile(r"OpOverload\(op='(?P<name>[^']+)'")


def names_of(module: torch.nn.Module, given: Sequence[str] | None, count: int) -> list[str]:
    """The input names: those given, else the parameters of ``forward``. Raises ValueError for another number."""
    names = list(given) if given is not None else list(inspect.signature(module.forward).parameters)[:count]
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"input_names: example_inputs has {count} tensors, so give {count} different names, not {names}"
        )
    return names


def export(
    module: torch.nn.Module,
    example: Sequence[torch.Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str],
    path: Path,
) -> None:
    """Write ``module``, in eval mode and on the CPU, as ONNX with the first dimension of every input dynamic.

    ``example`` has a batch of two, as torch.export takes sizes 0 and 1 for constants. Metadata is left out: it holds
    paths and code of this machine. Raises ExportError with the operator or line that has no ONNX form.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    batch = torch.export.Dim("batch")
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                tuple(example),
                dynamo=True,
                verbose=False,
                input_names=list(input_names),
                output_names=list(output_names),
                dynamic_shapes=tuple({0: batch} for _ in example),
            )
    except Exception as error:
        raise ExportError(_explain(error)) from error
    assert program is not None, "only dynamo=False returns None"
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path, external_data=weights >= SINGLE_FILE_BYTES)


def _explain(error: BaseException) -> str:
    """The innermost cause in a line, the line of the model that it came from, and what to do."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    text = str(chain[-1])
    operator = _OPERATOR.search(text)
    what = f"{operator['name']} has no ONNX form" if operator else text.strip().partition("\n")[0]
    where = next((found for link in chain if (found := _line_in_text(link) or _line_in_frames(link))), "")
    return (
        f"the model cannot be exported: {what}{where}; write forward with operators that ONNX has, and torch.where or "
        "torch.cond instead of Python branches on tensor values"
    )


def _line_in_text(error: BaseException) -> str | None:
    lines = [found for found in _CODE_LINE.finditer(str(error)) if _is_users(found["file"])]
    return (
        f", at {lines[-1]['file']}:{lines[-1]['line']} in {lines[-1]['name']}: {lines[-1]['code']}" if lines else None
    )


def _line_in_frames(error: BaseException) -> str | None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    inner = [frame for frame in frames if frame.name == "forward"]
    return f", at {inner[-1].filename}:{inner[-1].lineno} in forward: {inner[-1].line}" if inner else None


def _is_users(file: str) -> bool:
    return not any(Path(file).is_relative_to(folder) for folder in (_TORCH, _OWN))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter logs, warns and prints at length, also where it succeeds."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
