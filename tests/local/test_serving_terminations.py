"""Servers that are told to stop while clients ask them: no request may fail. ``TERMINATIONS`` says how often."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from modelyard.contract import layout
from modelyard.contract.runs import ServeRun
from twice import published

TERMINATIONS = int(os.environ.get("TERMINATIONS", "2"))
CLIENTS = 8
PRE_STOP_SECONDS = 1
DEADLINE_SECONDS = 120.0
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()
REQUEST = b"POST /v2/models/twice/infer HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
RESULT = b'"data":[2.0,4.0]'


class Fleet:
    """Servers of one model, and which of them a proxy would choose: those that are ready."""

    def __init__(self, run: ServeRun, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self._started = 0
        self.ready: list[str] = []

    @asynccontextmanager
    async def server(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """One more server, from ready until it has exited with 0."""
        self._started += 1
        pid = os.getpid()
        host = f"127.{96 + pid // 256 % 96}.{pid % 256}.{self._started % 250 + 1}"
        root = self._folder / f"pod-{self._started}"
        (root / layout.CONFIG).mkdir(parents=True)
        (root / layout.CONFIG / layout.RUN_FILE).write_text(self._run.to_json())
        environment = os.environ | {layout.ROOT_VARIABLE: str(root), layout.HOST_VARIABLE: host}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "modelyard_server", env=environment, stderr=subprocess.DEVNULL
        )
        try:
            while not await is_ready(host):
                assert process.returncode is None
                await asyncio.sleep(0.05)
            self.ready.append(host)
            yield process
            process.send_signal(signal.SIGTERM)
            while await is_ready(host):  # noqa: ASYNC110 - as a proxy finds out
                await asyncio.sleep(0.01)
            self.ready.remove(host)
            assert await asyncio.wait_for(process.wait(), DEADLINE_SECONDS) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def is_ready(host: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, layout.SERVER_PORT)
        writer.write(b"GET /v2/health/ready HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return status.startswith(b"HTTP/1.1 200")


async def ask_until(stop: asyncio.Event, fleet: Fleet) -> int:
    """Ask on kept connections, a new one where the server closes; the number of answers. Raises if one is missing."""
    answers = 0
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(fleet.ready[answers % len(fleet.ready)], layout.SERVER_PORT)
        closes = False
        while not closes and not stop.is_set():
            writer.write(REQUEST)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            assert head.startswith(b"http/1.1 200"), (head, body)
            assert RESULT in body
            answers += 1
            closes = b"connection: close" in head
        writer.close()
    return answers


async def test_no_request_fails_when_servers_are_told_to_stop(tmp_path: Path) -> None:
    run = ServeRun(name="twice", artifact=published(tmp_path), cpus=1, grpc=False, pre_stop_seconds=PRE_STOP_SECONDS)
    fleet = Fleet(run, tmp_path)
    stop = asyncio.Event()
    async with fleet.server():
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(ask_until(stop, fleet)) for _ in range(CLIENTS)]
            for _ in range(TERMINATIONS):
                async with fleet.server():
                    before = len(fleet.ready)
            stop.set()
        assert before == 2
        assert all(client.result() > 0 for client in clients)
