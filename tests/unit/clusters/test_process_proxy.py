"""A Service's local port."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelyard.clusters.process.proxy import LOOPBACK, LocalPort


@pytest.fixture
async def local() -> AsyncIterator[LocalPort]:
    port = await LocalPort.listen(0)
    yield port
    await port.close()


async def backend(answer: bytes) -> tuple[asyncio.Server, tuple[str, int]]:
    """A server that reads all that it is sent, then answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + await reader.read())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    host, port = server.sockets[0].getsockname()
    return server, (host, port)


async def ask(local: LocalPort, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, local.port)
    writer.write(question)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_connections_go_to_the_backends_in_turn(local: LocalPort) -> None:
    first, second = await backend(b"1"), await backend(b"2")
    local.backends = [first[1], second[1]]
    answers = {await ask(local, b"x") for _ in range(2)}
    first[0].close()
    second[0].close()
    assert answers == {b"1x", b"2x"}


async def test_a_backend_that_is_gone_is_passed_over(local: LocalPort) -> None:
    gone, there = await backend(b""), await backend(b"2")
    gone[0].close()
    await gone[0].wait_closed()
    local.backends = [gone[1], there[1]]
    answers = {await ask(local, b"x") for _ in range(2)}
    there[0].close()
    assert answers == {b"2x"}


async def test_without_a_backend_the_answer_is_503(local: LocalPort) -> None:
    answer = await ask(local, b"GET / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'{"error":' in answer
