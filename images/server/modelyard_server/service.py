"""One model behind any transport: what may be asked of it now, and how a request gets its results."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard_server.batch_queue import BatchQueue, Done, Job
from modelyard_server.batcher import Batcher, InlineBatcher, ThreadedBatcher
from modelyard_server.errors import RETRY_LATER, OverloadError, RequestError, shown
from modelyard_server.metrics import Metrics, Protocol, reason_of
from modelyard_server.request_log import RequestLog
from modelyard_server.resting import RestingClients
from modelyard_server.session import Model
from modelyard_server.start import started
from modelyard_server.tensors import Signature, Tensor
from modelyard_server.tuning import Tuning

if TYPE_CHECKING:
    from modelyard_server.tracing import Traces

_BODIES_AT_ONCE = 8


class Service:
    """The served model: loading until ``start`` returns, then ready until ``stop``."""

    def __init__(self, run: ServeRun, metrics: Metrics | None = None) -> None:
        self.run = run
        self.version = short(run.artifact.digest)
        self.metrics = metrics or Metrics(run.name, self.version, run.artifact.digest, triton=run.triton_metrics)
        self.metrics.in_flight = lambda: self.in_flight
        self.metrics.waiting = lambda: 0 if self._batcher is None else self._batcher.waiting
        self.most_in_flight = 2 * run.batching.max_queue
        """Requests that may be read, wait or be computed at once."""
        self.most_held = _BODIES_AT_ONCE * run.max_payload_bytes
        """Bytes of their bodies."""
        self.in_flight = 0
        self.held = 0
        self.stopping = False
        self.resting = RestingClients(_call_later, time.monotonic)
        """Whom ``OverloadError`` was told, where the transport can leave them unread."""
        self.traces: Traces | None = None
        """Told of requests that are answered. Set before ``start``."""
        self.tuning: Tuning | None = None
        self._log = RequestLog()
        self._model: Model | None = None
        self._batcher: Batcher | None = None

    async def start(self) -> None:
        """Verify, load, warm up and measure the model. Raises StorageError and StartError."""
        model, tuning = await asyncio.get_running_loop().run_in_executor(None, started, self.run)
        self.tuning = self.metrics.tuning = tuning
        self._batcher = self._batcher_for(model, tuning)
        self._model = model

    def _batcher_for(self, model: Model, tuning: Tuning) -> Batcher:
        queue = BatchQueue(self.run.batching.max_queue)
        delay = self.run.batching.max_delay_milliseconds / 1000
        observe = self._observe_run if self.traces is None else self.traces.noting(self._observe_run)
        if tuning.mode == "Inline":
            return InlineBatcher(model.run, tuning.max_batch, delay, queue, observe)
        patience = 0.0 if delay else tuning.patience
        return ThreadedBatcher(model.run, tuning.max_batch, delay, tuning.instances, queue, observe, patience=patience)

    def _observe_run(self, jobs: Sequence[Job], seconds: float) -> None:
        self.metrics.observe_run(jobs, seconds)
        if self.resting and self._batcher is not None:
            # Not before half of the queue is free: as long as those who are answered ask again, they take every place.
            most = self.run.batching.max_queue
            if (waiting := self._batcher.waiting) <= most // 2:
                self.resting.wake(most - waiting)

    def stop(self) -> None:
        """Be ready no more, but answer what is asked."""
        self.stopping = True
        self.resting.wake(len(self.resting))

    def close(self) -> None:
        """End the threads that run the model."""
        if self._batcher is not None:
            self._batcher.close()

    @property
    def signature(self) -> Signature:
        """The model's, once it is loaded; raises RequestError (503) before. A stopping server still has it."""
        return self.model.signature

    @property
    def model(self) -> Model:
        """The model, once it is loaded; raises RequestError (503) before."""
        if self._model is None:
            raise RequestError(f"model '{self.run.name}' is still loading", 503, RETRY_LATER)
        return self._model

    @property
    def ready(self) -> bool:
        """Whether new requests should come here."""
        return self._model is not None and not self.stopping

    def check_ready(self) -> None:
        """Raise RequestError (503) unless new requests should come here."""
        if self.stopping:
            raise RequestError("this server is stopping", 503, RETRY_LATER)
        _ = self.model

    def check_name(self, name: str | None, version: str | None) -> None:
        """Raise RequestError (404) unless this is the served model, and the served version where one is named."""
        if name != self.run.name:
            raise RequestError(f"model {shown(name)} is not served here; this server has '{self.run.name}'", 404)
        if version not in (None, "", self.version):
            raise RequestError(f"version {shown(version)} is not served here; this server has '{self.version}'", 404)

    def admit(self) -> None:
        """Take a place among the requests in flight; raises OverloadError when none is free, or the queue is full.

        To say so before the body was read takes half the time.
        """
        if self._batcher is not None:
            self._batcher.check_room()
        if self.in_flight >= self.most_in_flight:
            raise OverloadError(f"{self.most_in_flight} requests are in flight")
        self.in_flight += 1

    def hold(self, size: int) -> None:
        """Take room for ``size`` bytes of a body; raises OverloadError when there is none."""
        if self.held + size > self.most_held:
            raise OverloadError("too many large requests are in flight")
        self.held += size

    def release(self, size: int) -> None:
        """Give back the place and ``size`` bytes."""
        self.in_flight -= 1
        self.held -= size

    def submit(
        self, inputs: Mapping[str, Tensor], outputs: Sequence[str], done: Done, *, seconds: float = math.inf
    ) -> Job:
        """Have the named outputs computed for inputs that fit the signature; ``done`` gets them on the event loop.

        That may be before this returns. Every transport comes through here. ``seconds`` is how long somebody waits.
        Raises RequestError (503) when the queue is full.
        """
        batcher = self._batcher
        if batcher is None:
            raise RequestError(f"model '{self.run.name}' is still loading", 503, RETRY_LATER)
        rows = 0
        if self.tuning is not None and self.tuning.max_batch > 1:
            counts = {len(tensor) for tensor in inputs.values()}
            rows = counts.pop() if len(counts) == 1 else 0
        job = Job(inputs, outputs, rows, done, deadline=time.perf_counter() + seconds)
        batcher.submit(job)
        return job

    def answered(self, protocol: Protocol, start: float) -> None:
        """A request that began at ``start``, in seconds of ``time.perf_counter``, got its results."""
        end = time.perf_counter()
        self.metrics.count(protocol, 200)
        self.metrics.observe(protocol, end - start)
        self._log.note(protocol, 200, start, end)

    def failed(self, protocol: Protocol, code: int, start: float | None = None) -> None:
        """A request was refused or failed, with this HTTP status; ``start`` as above, None where it did not begin."""
        end = time.perf_counter()
        self.metrics.count(protocol, code)
        self.metrics.fail(reason_of(code))
        self._log.note(protocol, code, end if start is None else start, end)

    def cancel(self, job: Job) -> None:
        """Drop a job that still waits, because its client is gone."""
        if self._batcher is not None:
            self._batcher.cancel(job)


def _call_later(seconds: float, function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, function)
