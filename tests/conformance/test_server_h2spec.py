"""h2spec asks the server's HTTP/2 for everything that the protocol forbids and demands.

The session is asked alone: the gRPC port answers what is no gRPC from its head, before h2spec has sent what is wrong.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.unit.server.http2_peer import Peer, Request

from modelyard_server.http2_fields import Fields
from modelyard_server.http2_stream import Stream

CASES = 145
NO_LONGER = {"Sends HEADERS frame that depend on itself", "Sends PRIORITY frame that depend on itself"}
"""Of RFC 7540, whose priorities RFC 9113 has taken away (section 5.3)."""


class Greeter(Peer):
    """Answers each request when it is complete, with a body also where it has none."""

    def _begin(self, stream: Stream, found: Fields) -> Request:
        request = super()._begin(stream, found)
        request.body = b"hello"
        return request


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection with h2spec."""
    session, data = Greeter(greets=False).session, b""
    with suppress(ConnectionError):
        while True:
            session.feed(data)
            while session.sender.ready:
                writer.write(b"".join(session.sender.take(1 << 16)))
            if session.finished or not (data := await reader.read(1 << 16)):
                break
        writer.write_eof()  # to close at once would reset the connection before the client has read why
        while await reader.read(1 << 16):
            pass
    writer.close()


async def test_http2_is_what_h2spec_says(tmp_path: Path) -> None:
    command = os.environ.get("H2SPEC")
    if command is None:
        pytest.skip("H2SPEC names no h2spec; `make test-serving` builds it with Go and names it")
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
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
