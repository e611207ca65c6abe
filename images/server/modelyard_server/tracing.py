"""One span for each request of the model, and below it its waiting and its run, sent by OTLP.

A span is made when its request is answered, from the times that the server takes anyway. This module is imported only
where the standard variables name a receiver. Sources: W3C Trace Context, section 3; OpenTelemetry's semantic
conventions for HTTP and RPC server spans; opentelemetry-specification, specification/protocol/exporter.md.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard_server.batch_queue import Job
from modelyard_server.batcher import Observe
from modelyard_server.errors import StartError
from modelyard_server.http_messages import Request
from modelyard_server.routes import Action, Route

_W3C = TraceContextTextMapPropagator()
_HEADERS = ("traceparent", "tracestate")
_GRPC_ERRORS = ("DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE")
"""Codes of ours that are the server's failure, not the client's mistake."""
_LAST_SECONDS = 3.0
"""So long the last spans may take; what is not sent by then is lost."""


class Traces:
    """Tells a tracer of requests that are answered. Used on the event loop only."""

    def __init__(self, run: ServeRun, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("modelyard_server")
        self._scheme = "https" if run.tls_secret else "http"
        self._model = {
            "modelyard.model.name": run.name,
            "modelyard.model.version": short(run.artifact.digest),
            "modelyard.model.digest": run.artifact.digest,
        }

    def noting(self, observe: Observe) -> Observe:
        """The same ``observe``, which also notes in each job how its run was."""

        def noted(jobs: Sequence[Job], seconds: float) -> None:
            rows = sum(job.rows or 1 for job in jobs)
            for job in jobs:
                job.ran = (seconds, rows)
            observe(jobs, seconds)

        return noted

    def http(self, request: Request, route: Route, status: int, start: float | None, job: Job | None = None) -> None:
        """An HTTP request was answered; ``start`` is its ``time.perf_counter``, None where it was refused unread."""
        method, pattern = request.method.decode("latin-1"), pattern_of(route)
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": pattern,
            "http.response.status_code": status,
            "url.path": request.path.decode("latin-1"),
            "url.scheme": self._scheme,
        }
        carrier = {
            name: value.decode("latin-1")
            for name in _HEADERS
            if (value := request.headers.get(name.encode())) is not None
        }
        self._tell(f"{method} {pattern}", carrier, attributes, str(status) if status >= 500 else None, start, job)

    def grpc(
        self,
        metadata: Iterable[tuple[bytes, bytes]],
        method: str,
        code: str,
        start: float | None,
        job: Job | None = None,
    ) -> None:
        """A gRPC request was answered; ``method`` is the service's full name, a slash and the method, else as above."""
        attributes: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
        }
        carrier = {
            name: value.decode("latin-1") for key, value in metadata if (name := key.decode("latin-1")) in _HEADERS
        }
        self._tell(method, carrier, attributes, code if code in _GRPC_ERRORS else None, start, job)

    def _tell(
        self,
        name: str,
        carrier: Mapping[str, str],
        attributes: Mapping[str, str | int],
        error: str | None,
        start: float | None,
        job: Job | None,
    ) -> None:
        end, now = time.perf_counter(), time.time_ns()

        def wall(moment: float) -> int:
            return now - round((end - moment) * 1e9)

        failed = {} if error is None else {"error.type": error}
        span = self._tracer.start_span(
            name,
            _W3C.extract(carrier),
            SpanKind.SERVER,
            {**self._model, **attributes, **failed},
            start_time=wall(end if start is None else start),
        )
        if span.is_recording():
            if error is not None:
                span.set_status(StatusCode.ERROR)
            if job is not None and job.ran is not None:
                below, (seconds, rows) = set_span_in_context(span), job.ran
                begun = wall(job.started)
                self._tracer.start_span("queue", below, start_time=wall(job.queued)).end(begun)
                run = self._tracer.start_span("run", below, attributes={"modelyard.batch.rows": rows}, start_time=begun)
                run.end(begun + round(seconds * 1e9))
        span.end(now)


def pattern_of(route: Route) -> str:
    """The path of a request of the model, with names for what varies."""
    version = "" if route.version is None else "/versions/{version}"
    if route.action is Action.PREDICT:
        return f"/v1/models/{{model}}{version}:predict"
    return f"/v2/models/{{model}}{version}/infer"


@contextlib.contextmanager
def tracing(run: ServeRun) -> Iterator[Traces]:
    """Traces of ``run``, which go where OpenTelemetry's variables say; the last of them are sent at the end.

    The service is named after the model unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES name it. Raises
    StartError (TracingInvalid) for values that OpenTelemetry refuses.
    """
    try:
        named = OTELResourceDetector().detect().attributes
        provider = TracerProvider(resource=Resource.create({"service.name": run.name, **named}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise StartError("TracingInvalid", f"runtime.env, OpenTelemetry's variables: {error}") from error
    try:
        yield Traces(run, provider)
    finally:
        sending = threading.Thread(target=provider.shutdown, daemon=True)  # which may take half a minute
        sending.start()
        sending.join(_LAST_SECONDS)
