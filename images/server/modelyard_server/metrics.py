"""What Prometheus reads at ``/metrics``. Every label has few values, none of them from a request.

Figures are plain numbers that the event loop changes, and become Prometheus' text only when somebody reads them.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from modelyard_server.batch_queue import Job
from modelyard_server.tuning import Tuning

Protocol = Literal["v1", "v2", "grpc"]
Reason = Literal["Refused", "Busy", "Late", "Gone", "Internal"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
_SECONDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def reason_of(status: int) -> Reason:
    """The reason of a failure for an HTTP status."""
    return "Internal" if status == 500 else "Busy" if status in (429, 503) else "Late" if status == 504 else "Refused"


class Distribution:
    """A histogram."""

    __slots__ = ("_bounds", "_counts", "count", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value
        self.count += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(repr, map(float, self._bounds)), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Metrics(Collector):
    """The figures of one server."""

    def __init__(self, model: str, version: str, digest: str, *, triton: bool = False) -> None:
        self._labels = (model, version, digest)
        self._triton = triton
        self._requests: Counter[tuple[str, int]] = Counter()
        self._failures: Counter[str] = Counter()
        self._duration: dict[Protocol, Distribution] = {}
        self.queued = Distribution(_SECONDS)
        self.computed = Distribution(_SECONDS)
        self.rows = Distribution(_ROWS)
        self.last_inference_milliseconds = 0
        """Since 1970; 0 before the first."""
        self.run_rows = 0
        """Rows of all runs."""
        self.jobs = 0
        """Requests of all runs."""
        self.job_seconds = 0.0
        """Seconds of the runs, counted once for each request in them."""
        self.in_flight: Callable[[], int] = lambda: 0
        self.waiting: Callable[[], int] = lambda: 0
        self.tuning: Tuning | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count(self, protocol: Protocol, code: int) -> None:
        """Count one answer."""
        self._requests[protocol, code] += 1

    def fail(self, reason: Reason) -> None:
        """Count one request that got no results."""
        self._failures[reason] += 1

    def observe(self, protocol: Protocol, seconds: float) -> None:
        """Add the duration of one successful request."""
        distribution = self._duration.get(protocol)
        if distribution is None:
            distribution = self._duration[protocol] = Distribution(_SECONDS)
        distribution.add(seconds)

    def observe_run(self, jobs: Sequence[Job], seconds: float) -> None:
        """Add one run of the model for ``jobs``."""
        rows = 0
        for job in jobs:
            rows += job.rows or 1
            self.queued.add(job.started - job.queued)
        self.computed.add(seconds)
        self.rows.add(rows)
        self.run_rows += rows
        self.jobs += len(jobs)
        self.job_seconds += seconds * len(jobs)
        self.last_inference_milliseconds = time.time_ns() // 1_000_000

    @property
    def successes(self) -> int:
        """Requests that got results."""
        return sum(count for (_, code), count in self._requests.items() if code == 200)

    @property
    def failures(self) -> int:
        """Requests that did not."""
        return sum(self._failures.values())

    @property
    def request_seconds(self) -> float:
        """Seconds of all successful requests."""
        return sum(each.total for each in self._duration.values())

    def render(self) -> bytes:
        """All figures in the Prometheus text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The figures as families; called by the Prometheus library."""
        requests = CounterMetricFamily(
            "modelyard_requests", "Inference requests, by protocol and HTTP status code", labels=("protocol", "code")
        )
        for (protocol, code), count in self._requests.items():
            requests.add_metric((protocol, str(code)), count)
        yield requests
        failures = CounterMetricFamily(
            "modelyard_request_failures", "Inference requests that got no results, by reason", labels=("reason",)
        )
        for reason, count in self._failures.items():
            failures.add_metric((reason,), count)
        yield failures
        duration = HistogramMetricFamily(
            "modelyard_request_duration_seconds",
            "Time from the complete request to the encoded answer, of requests that got their results",
            labels=("protocol",),
        )
        for protocol, each in self._duration.items():
            duration.add_metric((protocol,), each.buckets(), each.total)
        yield duration
        for name, text, each in (
            ("modelyard_queue_seconds", "Time that a request waited for its run of the model", self.queued),
            ("modelyard_compute_seconds", "Time of one run of the model", self.computed),
            ("modelyard_batch_rows", "Rows of one run of the model", self.rows),
        ):
            yield HistogramMetricFamily(name, text, buckets=each.buckets(), sum_value=each.total)
        yield GaugeMetricFamily(
            "modelyard_requests_in_flight", "Inference requests being read, queued or computed", self.in_flight()
        )
        yield GaugeMetricFamily("modelyard_requests_queued", "Requests that wait for a run", self.waiting())
        yield from self._information()
        if self._triton:
            yield from self._triton_names()

    def _information(self) -> Iterator[Metric]:
        model = GaugeMetricFamily(
            "modelyard_model_info",
            "Always 1; the labels say which artefact is served",
            labels=("model", "version", "digest"),
        )
        model.add_metric(self._labels, 1)
        yield model
        if (tuning := self.tuning) is not None:
            names = ("mode", "instances", "threads", "max_batch")
            family = GaugeMetricFamily(
                "modelyard_tuning_info", "Always 1; the labels say how the model is run", labels=names
            )
            family.add_metric([str(getattr(tuning, name)) for name in names], 1)
            yield family

    def _triton_names(self) -> Iterator[Metric]:
        """The same under Triton's names (triton-inference-server/server docs/user_guide/metrics.md)."""
        reasons = {
            "Refused": "OTHER",
            "Busy": "REJECTED",
            "Late": "REJECTED",
            "Gone": "CANCELED",
            "Internal": "BACKEND",
        }
        failed: Counter[str] = Counter()
        for reason, count in self._failures.items():
            failed[reasons[reason]] += count
        failures = CounterMetricFamily(
            "nv_inference_request_failure", "Failed requests", labels=("model", "version", "reason")
        )
        for reason, count in failed.items():
            failures.add_metric((*self._labels[:2], reason), count)
        yield failures
        micro = 1e6
        for name, text, value in (
            ("nv_inference_request_success", "Successful requests", self.successes),
            ("nv_inference_count", "Rows computed", self.run_rows),
            ("nv_inference_exec_count", "Runs of the model", self.computed.count),
            ("nv_inference_request_duration_us", "Time of successful requests", self.request_seconds * micro),
            ("nv_inference_queue_duration_us", "Time in the queue", self.queued.total * micro),
            ("nv_inference_compute_infer_duration_us", "Time in runs, by request", self.job_seconds * micro),
        ):
            family = CounterMetricFamily(name, text, labels=("model", "version"))
            family.add_metric(self._labels[:2], value)
            yield family
        pending = GaugeMetricFamily("nv_inference_pending_request_count", "Waiting", labels=("model", "version"))
        pending.add_metric(self._labels[:2], self.waiting())
        yield pending
