"""Load a verified artefact into ONNX Runtime, and run it."""

import contextlib
import ctypes
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from modelyard.contract.artifact import MODEL_FILE, Manifest
from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard.storage.artifacts import open_artifact
from modelyard_server.errors import RequestError, StartError
from modelyard_server.tensors import Signature, Tensor

log = logging.getLogger(__name__)

_BFLOAT16 = 16
"""``TensorProto.BFLOAT16`` of onnx/onnx.proto."""
CUDA = "CUDAExecutionProvider"
_PROVIDERS: Mapping[str, str] = {"Cuda": CUDA, "Cpu": "CPUExecutionProvider"}

# ONNX Runtime's exceptions have no base of their own; its Python layer adds the built-in ones.
FAILURES: tuple[type[Exception], ...] = (
    RequestError,
    RuntimeError,
    TypeError,
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


class Model:
    """One loaded model. ``run`` may be called from several threads at once."""

    def __init__(self, session: ort.InferenceSession, signature: Signature, threads: int) -> None:
        self._session = session
        self.signature = signature
        self.threads = threads
        """Threads that one run uses."""
        self.providers: Sequence[str] = session.get_providers()
        """What ONNX Runtime runs it with, best first."""
        specs = (*signature.inputs, *signature.outputs)
        self._half = frozenset(spec.name for spec in specs if spec.datatype == "BF16")
        self._can_bind = all(spec.datatype != "BYTES" for spec in specs)  # ONNX Runtime binds no strings
        self._has_device = self.providers[0] != _PROVIDERS["Cpu"]

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Sequence[Tensor]:
        """The named outputs, in that order, for inputs that fit the signature.

        Holds no lock on the interpreter while the model computes. Raises RequestError when the inputs' values are
        what the model refuses, and ONNX Runtime's own exceptions otherwise.
        """
        try:
            if self._has_device and self._can_bind:
                # IOBinding makes every error a RuntimeError; an ordinary run tells whose mistake it is.
                with contextlib.suppress(RuntimeError):
                    return self.run_bound(inputs, outputs)
            if self._half:
                return self._run_values(inputs, outputs)
            results: list[Tensor] = self._session.run(outputs, inputs)
        except ort_state.InvalidArgument as error:
            log.warning("%s: inputs refused: %s", self.signature.model, error)
            raise RequestError("the model refuses the values or sizes of these inputs; its log says why") from error
        return results

    def run_bound(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """The same through IOBinding: inputs are on the model's device before it runs, outputs in host memory after.

        For models without BYTES, and whatever the device. Raises RuntimeError whatever is wrong. Each run has a binding
        of its own: one used again would hand out the memory that an earlier run's results lie in.
        """
        binding = self._session.io_binding()
        for name, value in self._values(inputs).items():
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return self._tensors(outputs, binding.get_outputs())

    def _run_values(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """The same for a model with bfloat16, which ONNX Runtime does not exchange as numpy arrays."""
        return self._tensors(outputs, self._session.run_with_ort_values(outputs, self._values(inputs)))

    def _values(self, inputs: Mapping[str, Tensor]) -> dict[str, ort.OrtValue]:
        contiguous = {name: tensor if tensor.flags.c_contiguous else tensor.copy() for name, tensor in inputs.items()}
        return {
            name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(tensor, _BFLOAT16)
            if name in self._half
            else ort.OrtValue.ortvalue_from_numpy(tensor)
            for name, tensor in contiguous.items()
        }

    def _tensors(self, names: Sequence[str], values: Sequence[ort.OrtValue]) -> list[Tensor]:
        return [
            _bits(value) if name in self._half else value.numpy() for name, value in zip(names, values, strict=True)
        ]


def _bits(value: ort.OrtValue) -> Tensor:
    """A copy of the 16-bit numbers of a tensor."""
    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    data = ctypes.string_at(value.data_ptr(), 2 * count) if count else b""
    return np.frombuffer(data, np.dtype("<u2")).reshape(shape)


@dataclass(frozen=True)
class Loader:
    """A verified artefact that can be loaded with any number of threads."""

    file: Path
    name: str
    """For messages: the file, its place and its digest."""
    signature: Signature
    providers: Sequence[str]
    """Names of ONNX Runtime, best first."""

    def load(self, threads: int) -> Model:
        """The model, with so many threads for one run. Takes seconds. Raises StartError (ModelLoadFailed)."""
        try:
            return Model(
                ort.InferenceSession(self.file, _options(threads), providers=list(self.providers)),
                self.signature,
                threads,
            )
        except FAILURES as error:
            raise self.failed(error) from error

    def failed(self, error: Exception) -> StartError:
        """What to say of an error of ONNX Runtime."""
        return StartError("ModelLoadFailed", f"{self.name} does not load: {' '.join(str(error).split())}")


def open_model(run: ServeRun) -> Loader:
    """The artefact of ``run``, verified. Takes seconds; call it in a thread.

    Raises StorageError when the artefact is not there or not what its digest says, and StartError when it holds no
    model or when no asked-for execution provider is there.
    """
    directory, manifest = open_artifact(run.artifact, run.artifact.secret)
    file = manifest.file(MODEL_FILE)
    if file is None:
        raise StartError("ModelLoadFailed", f"{run.artifact.uri}: artefact {run.artifact.digest} holds no {MODEL_FILE}")
    return Loader(
        directory / MODEL_FILE,
        f"{run.artifact.uri}/{MODEL_FILE} ({file.digest})",
        _signature(run, manifest),
        _available([_PROVIDERS[each] for each in run.execution_providers], ort.get_available_providers()),
    )


def _available(wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    found = [name for name in wanted if name in present]
    if not found:
        raise StartError(
            "ProviderMissing",
            f"runtime.executionProviders: this image has {', '.join(present)}; add Cpu to run without the others",
        )
    if missing := [name for name in wanted if name not in present]:
        log.warning("not in this image: %s; runs with %s", ", ".join(missing), ", ".join(found))
    return found


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
