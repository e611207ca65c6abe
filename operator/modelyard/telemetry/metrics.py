"""What the operator counts, in the terms of Prometheus."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.resource import Resource
from modelyard.engine.kind import Kind
from modelyard.engine.observer import Result, Written

GENERAL_STATES = ("New", "Refused", "Blocked", "Other")
"""Of any kind: no status yet, the two that the engine gives, and what a kind does not document."""
BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


class Metrics:
    """All metrics of one process, and the engine's Observer. For one event loop."""

    def __init__(self, kinds: Sequence[Kind[Resource]]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._kinds = kinds
        self._since: dict[ObjectKey, float] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"modelyard_{name}", text, labels, registry=self.registry)

        def seconds(name: str, text: str) -> Histogram:
            return Histogram(f"modelyard_{name}", text, ["kind"], buckets=BUCKETS, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"modelyard_{name}", text, labels, registry=self.registry)

        self._reconciles = counter("reconcile", "Visits of objects, by how they ended.", "kind", "result")
        self._errors = counter("reconcile_errors", "Visits that failed and are tried again.", "kind")
        self._seconds = seconds("reconcile_seconds", "How long a visit took.")
        self._depth = gauge("workqueue_depth", "Objects that wait for a worker.", "kind")
        self._adds = counter("workqueue_adds", "Objects that began to wait for a worker.", "kind")
        self._retries = counter("workqueue_retries", "Objects put back after a failure.", "kind")
        self._waits = seconds("workqueue_queue_seconds", "How long an object waited for a worker.")
        self.leader = gauge("leader", "1 while this process works, 0 while it waits for the Lease.")
        self.watches = gauge("watches", "Watches that are open or being opened again.")
        self._last_event = gauge("watch_last_event_timestamp_seconds", "When a watch last showed an object.", "kind")
        for kind in kinds:
            for metric in (self._errors, self._seconds, self._depth, self._adds, self._retries, self._waits):
                metric.labels(kind.name)
            for result in get_args(Result):
                self._reconciles.labels(kind.name, result)

    def queued(self, key: ObjectKey, /) -> None:
        """See Observer."""
        self._since[key] = monotonic()
        self._depth.labels(key.kind).inc()
        self._adds.labels(key.kind).inc()

    def taken(self, key: ObjectKey, /) -> None:
        """See Observer."""
        self._depth.labels(key.kind).dec()
        self._waits.labels(key.kind).observe(monotonic() - self._since.pop(key))

    def visited(self, key: ObjectKey, result: Result, seconds: float, /) -> None:
        """See Observer."""
        self._reconciles.labels(key.kind, result).inc()
        self._seconds.labels(key.kind).observe(seconds)

    def retried(self, key: ObjectKey, /) -> None:
        """See Observer."""
        self._errors.labels(key.kind).inc()
        self._retries.labels(key.kind).inc()

    def shown(self, kind: str) -> None:
        """A watch has shown an object of that kind."""
        self._last_event.labels(kind).set_to_current_time()

    def show_requests(self, requests: Mapping[tuple[str, int], int]) -> None:
        """Show these counts, by method and status, as they are at each scrape."""

        def family() -> CounterMetricFamily:
            text = "Requests to the API server; code 0: no answer. The watches' own are not among them."
            found = CounterMetricFamily("modelyard_client_requests", text, labels=("method", "code"))
            for (method, code), count in requests.items():
                found.add_metric((method, str(code)), count)
            return found

        self._pull(family)

    def show_events(self, results: Mapping[Written, int]) -> None:
        """Show these counts, by result, as they are at each scrape."""

        def family() -> CounterMetricFamily:
            found = CounterMetricFamily("modelyard_events", "Events of objects, written or lost.", labels=("result",))
            for result in get_args(Written):
                found.add_metric((result,), results.get(result, 0))
            return found

        self._pull(family)

    def show_objects(self, known: Callable[[], Iterable[JsonObject]]) -> None:
        """Show how many of these objects are in which state at each scrape."""

        def family() -> GaugeMetricFamily:
            found = GaugeMetricFamily("modelyard_objects", "Objects by state.", labels=("kind", "state"))
            for labels, count in states(self._kinds, known()).items():
                found.add_metric(labels, count)
            return found

        self._pull(family)
        for name, text, more, read in _OF_OBJECTS:
            self._pull(partial(_of_objects, f"modelyard_{name}", text, more, read, known))

    def _pull(self, family: Callable[[], CounterMetricFamily | GaugeMetricFamily]) -> None:
        self.registry.register(_Pulled(family))


Reading = tuple[tuple[str, ...], float]
"""The values of the labels that a metric has besides the object's, and its value."""


def _number(status: JsonObject, *path: str) -> float | None:
    found: object = status
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return float(found) if isinstance(found, str | int | float) else None


def _progress(status: JsonObject) -> list[Reading]:
    percent = _number(status, "progress", "percent")
    return [] if percent is None else [((), percent / 100)]


def _best(status: JsonObject) -> list[Reading]:
    best = _number(status, "progress", "best")
    return [] if best is None else [((), best)]


def _restarts(status: JsonObject) -> list[Reading]:
    counts = ((("true",), "counted"), (("false",), "uncounted"))
    return [(label, count) for label, name in counts if (count := _number(status, "restarts", name)) is not None]


def _recovery(status: JsonObject) -> list[Reading]:
    seconds = _number(status, "restarts", "last", "recoverySeconds")
    return [] if seconds is None else [((), seconds)]


_OF_OBJECTS: Sequence[tuple[str, str, tuple[str, ...], Callable[[JsonObject], list[Reading]]]] = (
    ("progress_ratio", "How far an object is, from 0 to 1.", (), _progress),
    ("best_metric", "The best value of an object's objective.", (), _best),
    ("restarts", "Restarts of an object, by whether they count against its limit.", ("counted",), _restarts),
    ("recovery_seconds", "How long it took until the newest restart was made good.", (), _recovery),
)


def _of_objects(
    name: str,
    text: str,
    more: tuple[str, ...],
    read: Callable[[JsonObject], list[Reading]],
    known: Callable[[], Iterable[JsonObject]],
) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, text, labels=("kind", "namespace", "name", *more))
    for body in known():
        metadata, status = body.get("metadata"), body.get("status")
        if isinstance(metadata, dict) and isinstance(status, dict):
            about = (str(body.get("kind")), str(metadata.get("namespace")), str(metadata.get("name")))
            for labels, value in read(status):
                found.add_metric((*about, *labels), value)
    return found


def states(kinds: Iterable[Kind[Resource]], bodies: Iterable[JsonObject]) -> Mapping[tuple[str, str], int]:
    """How many of the objects are in which state, by kind and state, for all states that there are. Pure."""
    documented = {kind.name: kind.states for kind in kinds}
    counts: Tally[tuple[str, str]] = Tally()
    for name, own in documented.items():
        counts.update(dict.fromkeys(((name, state) for state in (*GENERAL_STATES, *own)), 0))
    for body in bodies:
        kind, status = str(body.get("kind")), body.get("status")
        state = str((isinstance(status, dict) and status.get("state")) or "New")
        counts[kind, state if (kind, state) in counts else "Other"] += 1
    return counts


class _Pulled(Collector):
    """A metric that is read when it is asked for."""

    def __init__(self, family: Callable[[], CounterMetricFamily | GaugeMetricFamily]) -> None:
        self._family = family

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield self._family()
