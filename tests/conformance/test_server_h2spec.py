"""h2spec asks the server's HTTP/2 for everything that the protocol forbids and demands.

The session is asked alone: the gRPC port answers what is no gRPC from its head, before h2spec has sent what is wrong.
"""

import asyncio
import os
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from modelyard_server.http2_fields import Fields, encoded
from modelyard_server.http2_limits import SessionLimits
from modelyard_server.http2_session import Session
from modelyard_server.http2_stream import Stream

HEAD = encoded([(b":status", b"200"), (b"content-type", b"text/plain")])
TRAILERS = encoded([(b"grpc-status", b"0")])
CASES = 145
NO_LONGER = {"Sends HEADERS frame that depend on itself", "Sends PRIORITY frame that depend on itself"}
"""Of RFC 7540, whose priorities RFC 9113 has taken away (section 5.3)."""


class Request:
    """Is answered when it is complete."""

    until = float("inf")

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session = session
        self._stream = stream

    def data(self, data: bytes | memoryview) -> None:
        pass

    def end(self) -> None:
        self._session.send(self._stream, HEAD, b"hello", TRAILERS)

    def leave(self) -> None:
        pass

    def expire(self) -> None:
        raise AssertionError


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._session = Session(SessionLimits(), self._begin, time.monotonic)
        self._transport: asyncio.Transport

    def _begin(self, stream: Stream, fields: Fields) -> Request:
        return Request(self._session, stream)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        if not self._session.finished:
            self._session.feed(data)
            self._send()

    def _send(self) -> None:
        sender = self._session.sender
        while sender.ready:
            self._transport.write(b"".join(sender.take(1 << 16)))
        if self._session.finished:
            self._transport.write_eof()  # to close at once would reset the connection before the client has read why


async def test_http2_is_what_h2spec_says(tmp_path: Path) -> None:
    command = os.environ.get("H2SPEC")
    if command is None:
        pytest.skip("H2SPEC names no command of that name")
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    report = tmp_path / "report.xml"
    asked = await asyncio.create_subprocess_exec(
        *(command, "--host", host, "--port", str(port), "--junit-report", str(report)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asked.communicate()
    server.close()
    cases = ET.parse(report).findall(".//testcase")
    failed = {case.get("classname") for case in cases if len(case)}
    assert (len(cases), failed) == (CASES, NO_LONGER), said.decode()
