"""The gRPC port with TLS and a token, asked by gRPC's own clients."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.conformance.grpc_clients import CHECK, SERVING, UNLIMITED, address, doubled, infer_on, request
from tests.conformance.servers import Server, start_server

from modelyard.clusters.kube.certificates import make_certificate
from modelyard.contract import layout
from modelyard.contract.runs import ServeRun
from waiting import until

Publish = Callable[[str], ServeRun]
Start = Callable[..., Server]

HOST = "double.default.svc"


@pytest.fixture
def secured(publish: Publish, tmp_path: Path) -> Iterator[Server]:
    """A server with TLS and a token."""
    folder = tmp_path / layout.SECRETS
    (folder / "tls").mkdir(parents=True)
    (folder / "access").mkdir()
    (folder / "access" / layout.TOKEN_KEY).write_text("correct horse")
    write_certificate(tmp_path)
    run = publish("double").model_copy(update={"tls_secret": "tls", "token_secret": "access"})
    found = start_server(run, tmp_path, f"127.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}.251", {})
    yield found
    found.process.kill()
    found.process.communicate()


def write_certificate(root: Path) -> None:
    made = make_certificate([HOST], datetime.now(UTC))
    folder = root / layout.SECRETS / "tls"
    (folder / "tls.crt").write_bytes(made.certificate)
    (folder / "tls.key").write_bytes(made.key)


def secure_channel(server: Server) -> Any:
    credentials = grpc.ssl_channel_credentials((server.root / layout.SECRETS / "tls/tls.crt").read_bytes())
    return grpc.secure_channel(address(server), credentials, [("grpc.ssl_target_name_override", HOST), *UNLIMITED])


def test_over_tls_and_with_a_token(secured: Server) -> None:
    token = (("authorization", "Bearer correct horse"),)
    with secure_channel(secured) as channel:
        check = channel.unary_unary(CHECK)
        until(lambda: check(b"", timeout=30, wait_for_ready=True) == SERVING, "the server is ready")
        for rows in (1, 300_000):
            assert doubled(infer_on(channel)(request(rows), timeout=30, metadata=token), rows)
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as refused:
                infer_on(channel)(request(), timeout=30, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    write_certificate(secured.root)

    def follows() -> bool:
        with secure_channel(secured) as channel:
            try:
                return bool(channel.unary_unary(CHECK)(b"", timeout=5) == SERVING)
            except grpc.RpcError:
                return False

    until(follows, "the new certificate is used")
    assert secured.stop() == 0
