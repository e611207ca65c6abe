"""Ask a server as fast as it answers, or at a fixed rate, and tell how it did: one JSON line. Runs on its own core.

``python serving_load.py '{"protocol": "http", ...}'``; the fields are those of ``Load``. It speaks HTTP by hand and
builds each request once, so that a client in Python is no slower than the server; for gRPC it is ``serving_http2``.
"""
# ruff: noqa: T201

import asyncio
import json
import math
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import uvloop

from serving_http2 import GrpcClient

_CALLS_OF_A_CONNECTION = 8


@dataclass(frozen=True)
class Load:
    """What to ask, and how."""

    host: str
    port: int
    path: str
    body: str
    """A file with the body: of HTTP, or a ModelInferRequest."""
    headers: tuple[str, ...] = ()
    protocol: str = "http"
    """http or grpc."""
    concurrency: int = 8
    rate: float = 0.0
    """Requests a second, sent whether or not the earlier ones were answered; 0: an answer is followed by a request.

    Of HTTP only."""
    seconds: float = 3.0
    warm_seconds: float = 0.5
    core: int | None = None


class Tally:
    """Answers after the warm-up."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.begin = self.end = math.inf
        self.latencies: list[float] = []
        self.failures = 0
        self.answers = 0
        """All, also those of the warm-up."""
        self.finished = asyncio.Event()

    def start(self) -> None:
        """All connections are made."""
        self.begin = time.perf_counter() + self._load.warm_seconds
        self.end = self.begin + self._load.seconds

    def answer(self, since: float, *, good: bool) -> bool:
        """Count an answer to a request of the time ``since``; whether to go on."""
        now = time.perf_counter()
        self.answers += 1
        if self.begin <= now <= self.end:
            if good:
                self.latencies.append(now - since)
            else:
                self.failures += 1
        return now < self.end

    def result(self) -> dict[str, object]:
        """The figures."""
        ordered = sorted(self.latencies)

        def quantile(share: float) -> float | None:
            return round(ordered[int(share * (len(ordered) - 1))] * 1e6, 1) if ordered else None

        return {
            "requestsPerSecond": round(len(ordered) / self._load.seconds, 1),
            "answers": self.answers,
            "failuresPerSecond": round(self.failures / self._load.seconds, 1),
            "p50Microseconds": quantile(0.5),
            "p99Microseconds": quantile(0.99),
        }


class Client(asyncio.Protocol):
    """One HTTP connection with one request at a time: a new one after each answer, or when ``ask`` says so.

    With ``free`` it is the latter, and the client puts itself there when it may be asked.
    """

    def __init__(self, request: bytes, tally: Tally, free: "deque[Client] | None" = None) -> None:
        self._request = request
        self._tally = tally
        self._free = free
        self._head = b""
        self._missing: int | None = None
        self._good = True
        self._since = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._go_on()

    def _go_on(self) -> None:
        if self._free is None:
            self.ask(time.perf_counter())
        else:
            self._free.append(self)

    def ask(self, since: float) -> None:
        """Send the request, as one that should have been sent at ``since``."""
        self._since = since
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._head[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            self._good = head.startswith(b"http/1.1 200")
            self._missing = int(head[at:].split(b"\r\n", 1)[0]) - (len(self._head) - end - 4)
            self._head = b""
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._missing = None
            if self._tally.answer(self._since, good=self._good):
                self._go_on()
            else:
                self._tally.finished.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.finished.set()


async def http(load: Load, body: bytes) -> Tally:
    """Ask over HTTP."""
    fields = "".join(f"{line}\r\n" for line in (*load.headers, f"Content-Length: {len(body)}"))
    request = f"POST {load.path} HTTP/1.1\r\nHost: {load.host}\r\n{fields}\r\n".encode() + body
    loop = asyncio.get_running_loop()
    tally = Tally(load)
    free: deque[Client] | None = deque() if load.rate else None
    for _ in range(load.concurrency):
        await loop.create_connection(lambda: Client(request, tally, free), load.host, load.port)
    tally.start()
    if free is None:
        await tally.finished.wait()
    else:
        await _at_a_rate(load, tally, free)
    return tally


async def _at_a_rate(load: Load, tally: Tally, free: deque[Client]) -> None:
    """Send when the time has come, on a connection that is free; with none free the request waits, and that counts."""
    due = time.perf_counter()
    while (now := time.perf_counter()) < tally.end:
        while due <= now and free:
            free.popleft().ask(due)
            due += 1 / load.rate
        await asyncio.sleep(0 if due <= now else min(due - now, 0.0005))


async def grpc(load: Load, body: bytes) -> Tally:
    """Ask over gRPC, with several calls at once on a connection."""
    loop = asyncio.get_running_loop()
    tally = Tally(load)
    count = -(-load.concurrency // _CALLS_OF_A_CONNECTION)
    authority = f"{load.host}:{load.port}"
    for each in range(count):
        places = load.concurrency // count + (each < load.concurrency % count)
        client = partial(GrpcClient, authority, load.path, body, tally, places)
        await loop.create_connection(client, load.host, load.port)
    tally.start()
    await tally.finished.wait()
    return tally


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    body = Path(load.body).read_bytes()
    tally = uvloop.run((grpc if load.protocol == "grpc" else http)(load, body))
    print(json.dumps(asdict(load) | tally.result()))


if __name__ == "__main__":
    main()
