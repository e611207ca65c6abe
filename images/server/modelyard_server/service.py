"""One model behind any transport: what may be asked of it now, and how a request gets its results."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard_server.errors import RequestError, shown
from modelyard_server.session import Model, load
from modelyard_server.tensors import Tensor

MOST_IN_FLIGHT = 256
"""Requests that may be read, queued or computed at once; it bounds memory together with the payload limit."""


class Service:
    """The served model: loading until ``start`` returns, then ready until ``stopping`` is set."""

    def __init__(self, run: ServeRun) -> None:
        self.run = run
        self.version = short(run.artifact.digest)
        self.in_flight = 0
        self.stopping = False
        self._model: Model | None = None
        # As many runs at once as the session has threads: small operators use one thread each.
        self._executor = ThreadPoolExecutor(run.threads, thread_name_prefix="inference")

    async def start(self) -> None:
        """Verify, load and warm up the model. Raises StorageError and StartError."""
        self._model = await asyncio.get_running_loop().run_in_executor(self._executor, load, self.run)

    @property
    def model(self) -> Model:
        """The model, once it is loaded; raises RequestError (503) before. A stopping server still has it."""
        if self._model is None:
            raise RequestError(f"model '{self.run.name}' is still loading", 503)
        return self._model

    def check_ready(self) -> None:
        """Raise RequestError (503) unless new requests should come here."""
        if self.stopping:
            raise RequestError("this server is stopping", 503)
        _ = self.model

    def check_name(self, name: str | None, version: str | None) -> None:
        """Raise RequestError (404) unless this is the served model, and the served version where one is named."""
        if name != self.run.name:
            raise RequestError(f"model {shown(name)} is not served here; this server has '{self.run.name}'", 404)
        if version not in (None, self.version):
            raise RequestError(f"version {shown(version)} is not served here; this server has '{self.version}'", 404)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One place among the requests in flight; raises RequestError (503, Retry-After) when none is free."""
        if self.in_flight >= MOST_IN_FLIGHT:
            raise RequestError(f"{MOST_IN_FLIGHT} requests are in flight; try again", 503, ((b"retry-after", b"1"),))
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def infer(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """The named outputs for inputs that fit the signature. Raises RequestError.

        The seam for batching: every transport comes through here with decoded tensors.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.model.run, inputs, outputs)
