"""One run of the model for several requests: their rows side by side in, each one's rows out."""

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from modelyard_server.batch_queue import Job
from modelyard_server.tensors import Tensor

log = logging.getLogger(__name__)

Run = Callable[[Mapping[str, Tensor], Sequence[str]], Sequence[Tensor]]
Outcome = Sequence[Tensor] | Exception

_KEPT_GROUPS = 8
_KEPT_BYTES = 64 * 1024 * 1024


class BatchRunner:
    """Runs batches in one thread. It keeps the memory in which rows are put side by side."""

    def __init__(self, run: Run, rows: int) -> None:
        self._run = run
        self._rows = rows
        self._buffers: dict[Hashable, dict[str, Tensor]] = {}

    def __call__(self, batch: Sequence[Job]) -> list[Outcome]:
        """The outcome of each job, in order. Raises nothing: a job that the model refuses does not fail the others."""
        first = batch[0]
        if len(batch) == 1:
            return [self._single(first)]
        try:
            inputs = self._side_by_side(batch)
            results = self._run(inputs, first.outputs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the log of those that it concerns
            log.info("a batch of %d failed and is run one by one: %s", len(batch), error)
            return [self._single(job) for job in batch]
        outcomes: list[Outcome] = []
        start = 0
        for job in batch:
            end = start + job.rows
            outcomes.append([result[start:end] for result in results])
            start = end
        return outcomes

    def _single(self, job: Job) -> Outcome:
        inputs = job.inputs
        if not all(tensor.flags.aligned for tensor in inputs.values()):
            inputs = {name: tensor if tensor.flags.aligned else tensor.copy() for name, tensor in inputs.items()}
        try:
            return self._run(inputs, job.outputs)
        except Exception as error:  # noqa: BLE001 - the transport tells the client's mistakes from the server's
            return error

    def _side_by_side(self, batch: Sequence[Job]) -> dict[str, Tensor]:
        rows = sum(job.rows for job in batch)
        buffers = self._buffers_for(batch[0])
        return {
            name: np.concatenate([job.inputs[name] for job in batch], out=buffer[:rows])
            for name, buffer in buffers.items()
        }

    def _buffers_for(self, job: Job) -> dict[str, Tensor]:
        found = self._buffers.pop(job.key, None)
        if found is None:
            found = {
                name: np.empty((self._rows, *tensor.shape[1:]), tensor.dtype) for name, tensor in job.inputs.items()
            }
            if sum(buffer.nbytes for buffer in found.values()) > _KEPT_BYTES:
                return found
            while len(self._buffers) >= _KEPT_GROUPS:
                del self._buffers[next(iter(self._buffers))]
        self._buffers[job.key] = found  # newest last
        return found
