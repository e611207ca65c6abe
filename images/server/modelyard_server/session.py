"""Load a verified artefact into ONNX Runtime, warm it up, run it."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from modelyard.contract.artifact import MODEL_FILE, Manifest, TensorSpec
from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard.storage.artifacts import open_artifact
from modelyard_server.errors import RequestError, StartError
from modelyard_server.tensors import DTYPES, Signature, Tensor

log = logging.getLogger(__name__)

WARM_UP_ROWS = (1, 2, 8)

# ONNX Runtime's exceptions have no base of their own; its Python layer adds the built-in ones.
_FAILURES: tuple[type[Exception], ...] = (
    RequestError,
    RuntimeError,
    TypeError,
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


class Model:
    """One loaded model. ``run`` may be called from several threads at once."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self._session = session
        self.signature = signature

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """The named outputs, in that order, for inputs that fit the signature.

        Holds no lock on the interpreter while the model computes. Raises RequestError when the inputs' values are
        what the model refuses, and ONNX Runtime's own exceptions otherwise.
        """
        try:
            results: list[Tensor] = self._session.run(outputs, inputs)
        except ort_state.InvalidArgument as error:
            log.warning("%s: inputs refused: %s", self.signature.model, error)
            raise RequestError("the model refuses the values or sizes of these inputs; its log says why") from error
        return results


def load(run: ServeRun) -> Model:
    """The artefact of ``run``, verified, loaded and warmed up. Takes seconds; call it in a thread.

    Raises StorageError when the artefact is not there or not what its digest says, and StartError (ModelLoadFailed)
    when it does not run.
    """
    directory, manifest = open_artifact(run.artifact, run.artifact.secret)
    file = manifest.file(MODEL_FILE)
    if file is None:
        raise StartError("ModelLoadFailed", f"{run.artifact.uri}: artefact {run.artifact.digest} holds no {MODEL_FILE}")
    name = f"{run.artifact.uri}/{MODEL_FILE} ({file.digest})"
    try:
        session = ort.InferenceSession(
            directory / MODEL_FILE, _options(run.threads), providers=["CPUExecutionProvider"]
        )
        model = Model(session, _signature(run, manifest))
        _warm_up(model)
    except _FAILURES as error:
        cause = " ".join(str(error).split())
        raise StartError("ModelLoadFailed", f"{name} does not load: {cause}") from error
    return model


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning thread burns the CPU quota that the next request needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters comes back as an exception
    return options


def _signature(run: ServeRun, manifest: Manifest) -> Signature:
    return Signature(run.name, short(run.artifact.digest), tuple(manifest.inputs), tuple(manifest.outputs))


def _warm_up(model: Model) -> None:
    """Run zeros through the model, so that no client pays for first-run allocations and a false signature shows.

    A run whose sizes had to be guessed may fail without the model being broken, and is only logged.
    """
    signature = model.signature
    guessed = any(-1 in spec.shape[1:] for spec in signature.inputs)
    for rows in WARM_UP_ROWS if signature.batched else (1,):
        zeros = {spec.name: _zeros(spec, rows) for spec in signature.inputs}
        try:
            results = model.run(zeros, [spec.name for spec in signature.outputs])
        except _FAILURES as error:
            if rows == 1 and not guessed:
                raise
            log.warning("%s: warm-up with %d rows skipped: %s", signature.model, rows, error)
            continue
        for spec, tensor in zip(signature.outputs, results, strict=True):
            if tensor.dtype != DTYPES[spec.datatype]:
                raise ValueError(f"output '{spec.name}' is {tensor.dtype}, the manifest says {spec.datatype}")


def _zeros(spec: TensorSpec, rows: int) -> Tensor:
    sizes = [1 if size == -1 else size for size in spec.shape]
    shape = [rows, *sizes[1:]] if spec.shape[:1] == [-1] else sizes
    return np.full(shape, "" if spec.datatype == "BYTES" else 0, DTYPES[spec.datatype])
