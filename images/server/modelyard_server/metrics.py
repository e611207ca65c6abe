"""What Prometheus reads at ``/metrics``. Every label has few values, none of them from a request."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from modelyard_server.service import Service

Protocol = Literal["v1", "v2"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one server."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "modelyard_requests",
            "Inference requests, by protocol and HTTP status code",
            ("protocol", "code"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "modelyard_request_duration_seconds",
            "Time from the complete request to the encoded answer, of requests that got their results",
            ("protocol",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        in_flight = Gauge(
            "modelyard_requests_in_flight",
            "Inference requests being read, queued or computed",
            registry=self._registry,
        )
        in_flight.set_function(lambda: service.in_flight)
        model = Gauge(
            "modelyard_model_info",
            "Always 1; the labels say which artefact is served",
            ("model", "version", "digest"),
            registry=self._registry,
        )
        model.labels(service.run.name, service.version, service.run.artifact.digest).set(1)

    def count(self, protocol: Protocol, code: int) -> None:
        """Count one answer."""
        self._requests.labels(protocol, code).inc()

    def observe(self, protocol: Protocol, seconds: float) -> None:
        """Add the duration of one successful request."""
        self._latency.labels(protocol).observe(seconds)

    def render(self) -> bytes:
        """All figures in the Prometheus text format 0.0.4."""
        return generate_latest(self._registry)
