"""How the operator was installed: environment variables to frozen settings."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelyard.api.settings import Settings
from modelyard.telemetry.logs import LogFormat

MAX_PORT = 65535


@dataclass(frozen=True)
class OperatorSettings:
    """What the installation says. Every variable is optional."""

    images: Settings
    """MODELYARD_TRAINER_IMAGE, MODELYARD_COMPRESSOR_IMAGE, MODELYARD_SERVER_IMAGE."""
    namespaces: tuple[str, ...]
    """MODELYARD_NAMESPACES, separated by commas; empty: all of them."""
    lease_namespace: str | None
    """MODELYARD_LEASE_NAMESPACE: with it, only the holder of the Lease ``modelyard`` there works: two may run."""
    identity: str
    """MODELYARD_IDENTITY, the pod's name: who holds the Lease."""
    probe_port: int
    """MODELYARD_PROBE_PORT: liveness at /healthz."""
    metrics_port: int
    """MODELYARD_METRICS_PORT: Prometheus metrics at /metrics."""
    log_format: LogFormat
    """MODELYARD_LOG_FORMAT: text or json."""
    progress_url: str | None
    """MODELYARD_PROGRESS_URL: https://<host> by which pods reach the progress server; without it there is none. Its
    certificate is kept in the namespace of the Lease."""
    progress_port: int
    """MODELYARD_PROGRESS_PORT: where that listens."""


def from_environment(environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """The settings. Raises ValueError naming the variable that is wrong."""
    default = Settings()
    names = environment.get("MODELYARD_NAMESPACES", "").split(",")
    return OperatorSettings(
        images=Settings(
            trainer_image=environment.get("MODELYARD_TRAINER_IMAGE", default.trainer_image),
            compressor_image=environment.get("MODELYARD_COMPRESSOR_IMAGE", default.compressor_image),
            server_image=environment.get("MODELYARD_SERVER_IMAGE", default.server_image),
            file_uris=False,
        ),
        namespaces=tuple(name.strip() for name in names if name.strip()),
        lease_namespace=environment.get("MODELYARD_LEASE_NAMESPACE") or None,
        identity=environment.get("MODELYARD_IDENTITY") or f"{socket.gethostname()}-{os.getpid()}",
        probe_port=_port(environment, "MODELYARD_PROBE_PORT", 8081),
        metrics_port=_port(environment, "MODELYARD_METRICS_PORT", 8080),
        log_format=_log_format(environment.get("MODELYARD_LOG_FORMAT", "text")),
        progress_url=_progress_url(environment),
        progress_port=_port(environment, "MODELYARD_PROGRESS_PORT", 8443),
    )


def _progress_url(environment: Mapping[str, str]) -> str | None:
    url = environment.get("MODELYARD_PROGRESS_URL")
    if not url:
        return None
    if not url.startswith("https://") or not urlsplit(url).hostname:
        raise ValueError(f"MODELYARD_PROGRESS_URL: {url!r} is no https:// address")
    if not environment.get("MODELYARD_LEASE_NAMESPACE"):
        raise ValueError("MODELYARD_PROGRESS_URL: set MODELYARD_LEASE_NAMESPACE too, where the certificate is kept")
    return url.rstrip("/")


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MAX_PORT):
        raise ValueError(f"{name}: {text!r} is not a port; write a number from 1 to {MAX_PORT}")
    return int(text)


def _log_format(text: str) -> LogFormat:
    match text:
        case "text" | "json":
            return text
        case _:
            raise ValueError(f"MODELYARD_LOG_FORMAT: {text!r} is no format; write text or json")
