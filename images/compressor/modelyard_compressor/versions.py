"""Is the model of an opset and IR version that onnxruntime takes? Converted down where it is newer, or refused."""

import functools
import logging
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto, helper, version_converter

from modelyard_compressor import model_files
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.sessions import session_options

LOG = logging.getLogger(__name__)

_BEYOND = 100_000
_IR_LIMIT = re.compile(r"max supported IR version: (\d+)")
_OPSET_LIMIT = re.compile(r"support for domain ai\.onnx is till opset (\d+)")


@dataclass(frozen=True)
class Limits:
    """The newest versions that a runtime loads; None where it does not tell."""

    opset: int | None
    ir: int | None


@functools.cache
def runtime_limits() -> Limits:
    """Those of the onnxruntime here, which is the server's too, from how it refuses models of versions far beyond."""
    return Limits(
        opset=_told(_OPSET_LIMIT, _refusal(opset=_BEYOND, ir=10)), ir=_told(_IR_LIMIT, _refusal(opset=18, ir=_BEYOND))
    )


def fitted(source: Path, limits: Limits, target: Path) -> Path:
    """``source`` where it keeps to the limits, else ``target``, to which the same model is written so that it does.

    Raises CompressionError (OpsetTooNew) where it cannot be converted.
    """
    model = onnx.load(source)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
    new_opset = limits.opset is not None and opset > limits.opset
    new_ir = limits.ir is not None and model.ir_version > limits.ir
    if not new_opset and not new_ir:
        return source
    if new_opset and limits.opset is not None:
        model = _converted(model, opset, limits.opset)
    if limits.ir is not None:
        # What later IR versions added is refused by name when the model is loaded.
        model.ir_version = min(model.ir_version, limits.ir)
    model_files.save(model, target)
    LOG.info("the model was converted to what onnxruntime takes: opset %s, IR version %s", limits.opset, limits.ir)
    return target


def _converted(model: onnx.ModelProto, opset: int, limit: int) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(model, limit)
    except Exception as error:
        last_line = str(error).strip().splitlines()[-1]
        raise CompressionError(
            "OpsetTooNew",
            f"spec.source: the model is of opset {opset}, onnxruntime {version('onnxruntime')} takes up to {limit}, "
            f"and onnx cannot convert it ({last_line}); export it with opset_version={limit}",
        ) from error


def _refusal(opset: int, ir: int) -> str:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (its own classes share no other base)
        return str(error)
    return ""


def _told(pattern: re.Pattern[str], refusal: str) -> int | None:
    found = pattern.search(refusal)
    return int(found[1]) if found else None
