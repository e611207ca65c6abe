"""How is a model loaded and run here? On the CPU, with so many threads, and without spinning."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

Tensor = npt.NDArray[np.generic]
Feed = Mapping[str, Tensor]

_ERROR = 3
_NUMPY_NAMES = {"float": "float32", "double": "float64"}


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """As the server has them. Spinning is off: under a CPU limit a spinning thread burns the quota of working ones
    (onnxruntime#29510).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session for the model at ``path``. Raises onnxruntime's exceptions."""
    return onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])


class Model:
    """An ONNX model in an inference session on the CPU execution provider.

    Raises onnxruntime's exceptions where the file is no model or holds an unknown operator.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._session = open_session(path, threads)
        self.dtypes: dict[str, str] = {
            node.name: _numpy_name(node.type.removeprefix("tensor(").removesuffix(")"))
            for node in self._session.get_inputs()
        }
        """The numpy dtype name of each input."""
        leading = [node.shape[0] for node in self._session.get_inputs() if node.shape]
        self.batch: int | None = next((size for size in leading if isinstance(size, int)), None)
        """The only batch size that the model accepts; None where it accepts any."""

    def predict(self, feed: Feed) -> Tensor:
        """The model's first output for a batch. Raises onnxruntime's exceptions, such as InvalidArgument."""
        output: Tensor = self._session.run(None, feed)[0]
        return output

    def predict_all(self, feed: Feed, count: int) -> dict[str, Tensor]:
        """All outputs by name; of those with a row for each row of ``feed``, the first ``count`` rows."""
        rows = len(next(iter(feed.values())))
        outputs: list[Tensor] = self._session.run(None, feed)
        names = [node.name for node in self._session.get_outputs()]
        return {
            name: output[:count] if output.ndim and len(output) == rows else output
            for name, output in zip(names, outputs, strict=True)
        }


def _numpy_name(onnx_name: str) -> str:
    return _NUMPY_NAMES.get(onnx_name, onnx_name)
