"""Traces of a server as a process, as a receiver of OTLP gets them over HTTP."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.conformance.http_table import X, as_json

from modelyard.contract import layout
from modelyard.contract.digest import short
from modelyard.contract.runs import ServeRun
from modelyard_server import open_inference_pb2 as messages

Publish = Callable[[str], ServeRun]
Start = Callable[..., Any]

INFER = "/v2/models/double/infer"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"


@dataclass
class Receiver:
    """What came to it."""

    url: str
    paths: list[str] = field(default_factory=list)
    resources: list[dict[str, object]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def add(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(values(group.resource.attributes))
            self.spans += [span for scope in group.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def values(attributes: Any) -> dict[str, object]:
    def value(each: KeyValue) -> object:
        return getattr(each.value, each.value.WhichOneof("value") or "string_value")

    return {each.key: value(each) for each in attributes}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.add(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def started(publish: Publish, start: Start, **variables: str) -> Any:
    server = start(publish("double"), environment=variables)
    server.wait_until_ready()
    return server


def ask(server: Any, *, body: bytes = as_json(X).content, path: str = INFER, **headers: str) -> int:
    return httpx.post(server.url + path, content=body, headers=headers).status_code


def ask_by_grpc(server: Any, name: str) -> grpc.StatusCode:
    request = messages.ModelInferRequest(model_name=name)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 2, 3, 4])
    with grpc.insecure_channel(f"{server.host}:{layout.GRPC_PORT}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        try:
            _, done = call.with_call(request, metadata=(("traceparent", TRACEPARENT),), timeout=30)
        except grpc.RpcError as error:
            return error.code()
        code: grpc.StatusCode = done.code()
        return code


def model_of(server: Any) -> dict[str, object]:
    run = ServeRun.model_validate_json((server.root / layout.CONFIG / layout.RUN_FILE).read_bytes())
    digest = run.artifact.digest
    return {
        "modelyard.model.name": "double",
        "modelyard.model.version": short(digest),
        "modelyard.model.digest": digest,
    }


def test_a_request_over_http_is_a_span_of_the_clients_trace(publish: Publish, start: Start, receiver: Receiver) -> None:
    server = started(publish, start, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert ask(server, traceparent=TRACEPARENT) == 200
    assert server.stop() == 0
    (request,), (queue,), (run,) = map(receiver.named, ("POST /v2/models/{model}/infer", "queue", "run"))
    assert set(receiver.paths) == {"/v1/traces"}
    assert receiver.resources[0]["service.name"] == "double"
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert (request.kind, request.status.code) == (Span.SPAN_KIND_SERVER, Status.STATUS_CODE_UNSET)
    assert values(request.attributes) == model_of(server) | {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "url.path": INFER,
        "url.scheme": "http",
    }
    assert {span.parent_span_id for span in (queue, run)} == {request.span_id}
    assert values(run.attributes) == {"modelyard.batch.rows": 1}
    times = [
        request.start_time_unix_nano,
        queue.start_time_unix_nano,
        queue.end_time_unix_nano,
        run.start_time_unix_nano,
        run.end_time_unix_nano,
        request.end_time_unix_nano,
    ]
    assert times == sorted(times)
    assert queue.end_time_unix_nano == run.start_time_unix_nano


def test_a_request_over_grpc_is_one_too(publish: Publish, start: Start, receiver: Receiver) -> None:
    server = started(publish, start, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{receiver.url}/own/path")
    codes = [ask_by_grpc(server, name) for name in ("double", "nobody")]
    assert server.stop() == 0
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND]
    assert set(receiver.paths) == {"/own/path"}
    assert [
        (values(span.attributes), span.parent_span_id.hex())
        for span in receiver.named("inference.GRPCInferenceService/ModelInfer")
    ] == [
        (
            model_of(server)
            | {
                "rpc.system.name": "grpc",
                "rpc.method": "inference.GRPCInferenceService/ModelInfer",
                "rpc.response.status_code": code,
            },
            PARENT,
        )
        for code in ("OK", "NOT_FOUND")
    ]
    assert [span.name for span in receiver.spans if span.parent_span_id.hex() != PARENT] == ["queue", "run"]


def test_a_refused_request_is_told_and_is_no_error_of_the_server(
    publish: Publish, start: Start, receiver: Receiver
) -> None:
    server = started(publish, start, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    found = [ask(server, body=b"{"), ask(server, path="/v1/models/nobody:predict"), ask(server, traceparent="00-0-0")]
    assert server.stop() == 0
    requests = [
        (span.name, values(span.attributes)["http.response.status_code"], span.status.code)
        for span in receiver.spans
        if span.kind == Span.SPAN_KIND_SERVER
    ]
    assert found == [400, 404, 200]
    assert requests == [
        ("POST /v2/models/{model}/infer", 400, Status.STATUS_CODE_UNSET),
        ("POST /v1/models/{model}:predict", 404, Status.STATUS_CODE_UNSET),
        ("POST /v2/models/{model}/infer", 200, Status.STATUS_CODE_UNSET),
    ]
    assert {span.parent_span_id for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER} == {b""}


def test_a_deadline_that_passed_is_an_error_of_the_server(publish: Publish, start: Start, receiver: Receiver) -> None:
    run = publish("double")
    delayed = run.model_copy(update={"batching": run.batching.model_copy(update={"max_delay_milliseconds": 100})})
    server = start(delayed, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
    server.wait_until_ready()
    assert ask(server, body=as_json(X, parameters={"timeout": 1}).content) == 504
    assert server.stop() == 0
    (request,) = receiver.spans
    assert (request.status.code, values(request.attributes)["error.type"]) == (Status.STATUS_CODE_ERROR, "504")


def test_name_and_sampler_are_what_the_variables_say(publish: Publish, start: Start, receiver: Receiver) -> None:
    server = started(
        publish,
        start,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_TRACES_SAMPLER="parentbased_always_off",
    )
    assert [ask(server), ask(server, traceparent=NOT_SAMPLED), ask(server, traceparent=TRACEPARENT)] == [200] * 3
    assert server.stop() == 0
    named = [(found["service.name"], found["deployment.environment.name"]) for found in receiver.resources]
    assert named == [("shop", "test")]
    assert [span.name for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER] == [
        "POST /v2/models/{model}/infer"
    ]


def test_a_receiver_that_is_gone_costs_no_request_and_no_clean_end(publish: Publish, start: Start) -> None:
    server = started(publish, start, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert ask(server) == 200
    assert server.stop() == 0


def test_a_value_that_opentelemetry_refuses_is_said_in_one_line(publish: Publish, start: Start) -> None:
    server = start(
        publish("double"),
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"},
    )
    assert server.process.wait(60) == 1
    assert server.termination().reason == "TracingInvalid"
    assert server.process.stderr.read() == f"TracingInvalid: {server.termination().message}\n"


def test_without_a_receiver_nothing_of_opentelemetry_is_imported(publish: Publish, tmp_path: Any) -> None:
    script = (
        "import sys, modelyard_server.__main__, modelyard_server.grpc_server\n"
        "from modelyard_server.lifecycle import _traces\n"
        "assert _traces(None).__enter__() is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
