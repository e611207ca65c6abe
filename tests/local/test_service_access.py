"""A service that wants a token and speaks TLS, with Secrets as a user makes them."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import grpc
import httpx
import pytest

from laptops import Laptop, Object
from modelyard.clusters.kube.certificates import make_certificate
from twice import published

TOKEN = "correct horse"
NETWORK = {"authSecretRef": {"name": "access"}, "tlsSecretRef": {"name": "tls"}}
HOST = "twice.default.svc"
READY = "/inference.GRPCInferenceService/ServerReady"


def secret(name: str, **data: bytes) -> Object:
    """Its keys' dots are written as ``_``."""
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def service(folder: Path) -> Object:
    artifact = published(folder)
    spec = {
        "model": {"artifact": {"uri": artifact.uri, "digest": artifact.digest}},
        "network": NETWORK,
        "drain": {"preStopSeconds": 0},
    }
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "twice"},
        "spec": spec,
    }


def test_only_who_has_the_token_is_answered_and_over_tls(laptop: Laptop, tmp_path: Path) -> None:
    made = make_certificate([HOST], datetime.now(UTC))
    tls = secret("tls", tls_crt=made.certificate, tls_key=made.key)
    file = laptop.file(secret("access", token=TOKEN.encode()), tls, service(tmp_path))
    result = laptop("run", file, "--keep")
    assert result.code == 0, result.out + result.err
    status = laptop.status("msvc/twice")
    assert status["url"].startswith("https://"), status
    tuning = laptop.status("msvc/twice")["tuning"]
    assert (tuning["provider"], tuning["mode"], tuning["runMicroseconds"] > 0) == ("Cpu", "Inline", True)
    input_file = tmp_path / "x.json"
    input_file.write_text('{"x": [[1, 2]]}')
    asked = laptop("predict", "twice", "--input", str(input_file), "--protocol", "v2-binary")
    assert (asked.code, "4.0" in asked.out) == (0, True), asked.out + asked.err

    with httpx.Client(base_url=status["url"], verify=False, trust_env=False) as anybody:
        answers = {path: anybody.get(path).status_code for path in ("/v2/health/ready", "/v2/models/twice", "/metrics")}
        assert answers == {"/v2/health/ready": 200, "/v2/models/twice": 401, "/metrics": 401}
        assert anybody.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200

    credentials = grpc.ssl_channel_credentials(made.certificate)
    with grpc.secure_channel(status["grpc"], credentials, [("grpc.ssl_target_name_override", HOST)]) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(READY)
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ask(b"", timeout=30, metadata=(("authorization", f"Bearer {TOKEN}"),)) == b"\x08\x01"


def test_a_service_without_its_secrets_says_so(laptop: Laptop, tmp_path: Path) -> None:
    result = laptop("run", laptop.file(service(tmp_path)))
    assert result.code != 0
    assert "secrets/access/token is not there or empty" in laptop.status("msvc/twice")["message"]
