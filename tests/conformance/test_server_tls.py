"""A server with TLS and a token, asked by gRPC's own clients and over HTTPS."""

import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
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


def test_long_bodies_follow_each_other_over_https(secured: Server) -> None:
    trusted = ssl.create_default_context(cafile=secured.root / layout.SECRETS / "tls/tls.crt")
    with httpx.Client(base_url=f"https://{secured.host}:{layout.SERVER_PORT}", verify=trusted, timeout=30) as client:

        def ask(method: str, path: str, **given: Any) -> httpx.Response:
            return client.request(method, path, extensions={"sni_hostname": HOST}, **given)

        def ready() -> bool:
            try:
                return ask("GET", "/v2/health/ready").is_success
            except httpx.TransportError:
                return False

        until(ready, "the server is ready")
        for rows in (40_000, 30_000, 1, 50_000):
            x = np.arange(4 * rows, dtype="<f4")
            headers = {"Inference-Header-Content-Length": "0", "Authorization": "Bearer correct horse"}
            answer = ask("POST", "/v2/models/double/infer", content=x.tobytes(), headers=headers)
            assert answer.status_code == 200, answer.text
            assert answer.content[int(answer.headers["Inference-Header-Content-Length"]) :] == (2 * x).tobytes()


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
