"""The gRPC port, asked by gRPC's own clients over sockets."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.conformance.grpc_clients import (
    CHECK,
    INFER,
    NOT_SERVING,
    READY,
    SERVICE_UNKNOWN,
    SERVING,
    UNLIMITED,
    WATCH,
    address,
    channel_to,
    doubled,
    infer_on,
    metric,
    request,
)
from tests.conformance.servers import Server, start_server

from modelyard.contract import layout
from modelyard.contract.runs import BatchingRun, ServeRun
from waiting import until

Publish = Callable[[str], ServeRun]
Start = Callable[..., Server]

SLOW = BatchingRun(max_batch_size=4096, max_delay_milliseconds=700)
"""A request waits this long for others."""


@pytest.fixture(scope="module")
def server(publish: Publish, start: Start) -> Server:
    """A server that is ready."""
    found = start(publish("double"))
    found.wait_until_ready()
    return found


@pytest.fixture(scope="module")
def slow(publish: Publish, start: Start) -> Server:
    """The same, but each of its requests waits for others."""
    found = start(publish("double").model_copy(update={"batching": SLOW}))
    found.wait_until_ready()
    return found


@pytest.mark.parametrize("rows", [1, 300_000])
def test_a_hundred_calls_at_once_on_one_channel(server: Server, rows: int) -> None:
    count = 100 if rows == 1 else 5
    with channel_to(address(server), UNLIMITED) as channel:
        calls = [infer_on(channel).future(request(rows), timeout=60) for _ in range(count)]
        assert all(doubled(call.result(), rows) for call in calls)


async def test_a_thousand_calls_at_once_of_the_asynchronous_client(server: Server) -> None:
    async with aio.insecure_channel(address(server)) as channel:
        answers = await asyncio.gather(*(infer_on(channel)(request(), timeout=60) for _ in range(1000)))
    assert all(map(doubled, answers))


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("rows", [1, 100_000])
def test_a_compressed_request_is_inflated(server: Server, compression: grpc.Compression, rows: int) -> None:
    with channel_to(address(server), UNLIMITED) as channel:
        assert doubled(infer_on(channel)(request(rows), timeout=30, compression=compression), rows)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_a_message_above_the_limit_is_refused_even_when_it_is_compressed(
    publish: Publish, start: Start, compression: grpc.Compression | None
) -> None:
    small = start(publish("double").model_copy(update={"max_payload_bytes": 100_000}))
    small.wait_until_ready()
    with channel_to(address(small), UNLIMITED) as channel, pytest.raises(grpc.RpcError) as refused:
        infer_on(channel)(request(100_000), timeout=30, compression=compression)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("path", "message", "code", "text"),
    [
        ("/nobody/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        (INFER, b"\xff", grpc.StatusCode.INVALID_ARGUMENT, f"the message is none that {INFER} takes"),
        (
            INFER,
            request(name="né%").SerializeToString(),
            grpc.StatusCode.NOT_FOUND,
            "model 'né%' is not served here; this server has 'double'",
        ),
        (CHECK, b"\x0a\x01x", grpc.StatusCode.NOT_FOUND, "service 'x' is unknown here"),
    ],
)
def test_an_error_is_a_status_with_its_text(
    server: Server, path: str, message: bytes, code: grpc.StatusCode, text: str
) -> None:
    with channel_to(address(server)) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(path)(message, timeout=30)
    assert (refused.value.code(), refused.value.details()) == (code, text)


def test_a_method_of_one_message_takes_no_other_number(server: Server) -> None:
    with channel_to(address(server)) as channel:
        for sent in ([], [b"", b""]):
            with pytest.raises(grpc.RpcError) as refused:
                channel.stream_unary(READY)(iter(sent), timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_that_passes_drops_the_work(slow: Server) -> None:
    with channel_to(address(slow)) as channel, pytest.raises(grpc.RpcError) as late:
        infer_on(channel)(request(), timeout=0.1)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: metric(slow, "modelyard_requests_queued") == 0, "nothing is queued")
    until(lambda: metric(slow, "modelyard_requests_in_flight") == 0, "nothing is in flight")


def test_a_call_that_is_cancelled_drops_the_work(slow: Server) -> None:
    name = 'modelyard_request_failures_total{reason="Gone"}'
    before = metric(slow, name)
    with channel_to(address(slow)) as channel:
        call = infer_on(channel).future(request(), timeout=30)
        until(lambda: metric(slow, "modelyard_requests_in_flight") == 1, "the call is in flight")
        call.cancel()
        until(lambda: metric(slow, name) == before + 1, "the call is given up")
        assert metric(slow, "modelyard_requests_queued") == 0
        call = infer_on(channel).future(request(), timeout=30)
        until(lambda: metric(slow, "modelyard_requests_in_flight") == 1, "the call is in flight")
    until(lambda: metric(slow, name) == before + 2, "the second is given up")
    assert metric(slow, "modelyard_requests_in_flight") == 0


def test_keepalive_pings_keep_a_channel(server: Server) -> None:
    options = (
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    states: list[grpc.ChannelConnectivity] = []
    with channel_to(address(server), options) as channel:
        channel.subscribe(states.append)
        channel.unary_unary(READY)(b"", timeout=30)
        time.sleep(1.5)  # for the time that pings need, not for a condition
        channel.unary_unary(READY)(b"", timeout=30)
    assert states.count(grpc.ChannelConnectivity.READY) == 1


def test_health_is_told_once_or_as_it_changes(publish: Publish, start: Start) -> None:
    stopping = start(publish("double").model_copy(update={"pre_stop_seconds": 1}))
    stopping.wait_until_ready()
    with channel_to(address(stopping)) as channel:
        assert channel.unary_unary(CHECK)(b"", timeout=30) == SERVING
        watch = channel.unary_stream(WATCH)(b"", timeout=60)
        unknown = channel.unary_stream(WATCH)(b"\x0a\x01x", timeout=60)
        assert (next(watch), next(unknown)) == (SERVING, SERVICE_UNKNOWN)
        stopping.process.send_signal(signal.SIGTERM)
        assert next(watch) == NOT_SERVING
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert stopping.process.wait(30) == 0


def test_calls_in_flight_at_sigterm_complete(publish: Publish, start: Start) -> None:
    stopping = start(publish("double").model_copy(update={"batching": SLOW}))
    stopping.wait_until_ready()
    with channel_to(address(stopping)) as channel:
        calls = [infer_on(channel).future(request(), timeout=60) for _ in range(20)]
        until(lambda: metric(stopping, "modelyard_requests_in_flight") == 20, "all are in flight")
        stopping.process.send_signal(signal.SIGTERM)
        assert all(doubled(call.result()) for call in calls)
    assert stopping.process.wait(30) == 0


def test_no_call_fails_when_two_of_three_servers_stop(publish: Publish, start: Start) -> None:
    run = publish("double")
    servers = [start(run) for _ in range(3)]
    for each in servers:
        each.wait_until_ready()
    target = "ipv4:" + ",".join(map(address, servers))
    config = ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')
    stop = threading.Event()
    answered: list[None] = []
    with channel_to(target, (config,)) as channel, ThreadPoolExecutor(16) as clients:
        call = infer_on(channel)

        def ask() -> None:
            while not stop.is_set():
                assert doubled(call(request(), timeout=30))
                answered.append(None)

        try:
            asking = [clients.submit(ask) for _ in range(16)]
            for each in servers[:2]:
                answered.clear()
                until(lambda: len(answered) > 100, "the servers are under load")
                assert each.stop() == 0
        finally:
            stop.set()
        for client in asking:
            client.result()


def test_an_address_in_use_is_told(publish: Publish, tmp_path: Path) -> None:
    host = f"127.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}.250"
    with socket.create_server((host, layout.GRPC_PORT)):
        second = start_server(publish("double"), tmp_path, host, {})
        assert second.process.wait(30) == 1
    assert second.termination().reason == "AddressInUse"
    second.process.communicate()
