"""How does a float graph get ready for quantization? Shapes inferred, constants folded, norms and biases fused."""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from modelyard_compressor import model_files
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.folding import fold_biases
from modelyard_compressor.shapes import infer_shapes


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def optimise(source: Path, target: Path) -> None:
    """Write ``source``, prepared for quantization, to ``target``: every tensor has a type, and no domain is idle.

    Symbolic shape inference takes seconds, so it runs only where plain inference leaves tensors without a type.
    Raises CompressionError (OptimisationFailed).
    """
    _prepare(source, target, symbolic=False)
    if _untyped(onnx.load(target)):
        _prepare(source, target, symbolic=True)
    model = onnx.load(target)
    fold_biases(model, infer_shapes(model, {}))
    _drop_unused_domains(model)
    model_files.save(model, target)


def _prepare(source: Path, target: Path, *, symbolic: bool) -> None:
    # onnxruntime logs an error and goes on with the graph as it was, so an error logged counts as one raised.
    errors = _Errors()
    model_files.remove(target)
    logger = logging.getLogger(quant_pre_process.__module__)
    logger.addHandler(errors)
    try:
        quant_pre_process(
            source,
            target,
            skip_symbolic_shape=not symbolic,
            save_as_external_data=model_files.is_large(source),
            all_tensors_to_one_file=True,
            external_data_location=model_files.data_file(target).name,
        )
    except Exception as error:
        raise _failure(str(error)) from error
    finally:
        logger.removeHandler(errors)
    if errors.messages:
        raise _failure(errors.messages[-1])


def _untyped(model: onnx.ModelProto) -> bool:
    typed = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    return any(name and name not in typed for node in model.graph.node for name in node.output)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    # onnxruntime imports every domain it knows, and other runtimes refuse those that they do not.
    used = {node.domain for node in model.graph.node} | {""}
    kept = [domain for domain in model.opset_import if domain.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _failure(cause: str) -> CompressionError:
    last_line = cause.strip().splitlines()[-1]
    return CompressionError(
        "OptimisationFailed", f"the graph could not be optimised ({last_line}); take `optimise` out of spec.recipe"
    )
