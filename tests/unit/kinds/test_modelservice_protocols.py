import pytest
from pydantic import ValidationError

from kind_stories import Story, publisher
from modelyard.api.workloads import (
    ConfigMap,
    Deployment,
    Ingress,
    IngressPort,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from modelyard.contract.layout import RUN_FILE
from modelyard.contract.runs import ServeRun
from modelyard.kinds.modelservice import KIND
from modelyard.kinds.modelservice.model import ModelService
from modelyard.kinds.modelservice.scaling import child_name

DEFAULT = "{model: {compressionJob: {name: int8}}}"


def story(spec: str) -> Story[ModelService]:
    """A service whose first revision starts."""
    found = Story(KIND, spec, publisher("CompressionJob", "int8", "Complete"))
    found.visit()
    found.visit()
    return found


def ports(found: Story[ModelService]) -> tuple[list[tuple[str, int]], list[tuple[str, int, str | None]]]:
    """Of the pods and of the Service."""
    status = found.resource.status
    assert status.candidate is not None
    pod = found.child(Deployment, child_name(found.resource, status.candidate.revision)).spec.template.spec
    service = found.child(Service, "digits").spec
    return (
        [(port.name, port.container_port) for port in pod.containers[0].ports],
        [(port.name, port.port, port.app_protocol) for port in service.ports],
    )


def run_file(found: Story[ModelService]) -> ServeRun:
    status = found.resource.status
    assert status.candidate is not None
    data = found.child(ConfigMap, child_name(found.resource, status.candidate.revision)).data
    return ServeRun.model_validate_json(data[RUN_FILE])


def test_grpc_has_a_port_of_its_own_that_proxies_know_as_http2() -> None:
    found = story(DEFAULT)
    assert ports(found) == (
        [("http", 8080), ("grpc", 8081)],
        [("http", 80, None), ("grpc", 8081, "kubernetes.io/h2c")],
    )
    assert found.resource.status.grpc == "digits.default.svc:8081"


def test_without_grpc_there_is_no_port_for_it() -> None:
    found = story("{model: {compressionJob: {name: int8}}, protocols: {grpc: false}}")
    assert ports(found) == ([("http", 8080)], [("http", 80, None)])
    assert (found.resource.status.grpc, run_file(found).grpc) == (None, False)


def test_on_a_laptop_each_port_has_a_local_one() -> None:
    found = story(DEFAULT)
    front = found.child(Service, "digits")
    local = Ingress(ip="127.0.0.1", ports=[IngressPort(port=8080), IngressPort(port=8090)])
    status = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=[local]))
    found.objects[front.key] = front.model_copy(update={"status": status})
    found.visit()
    assert (found.resource.status.url, found.resource.status.grpc) == ("http://127.0.0.1:8080", "127.0.0.1:8090")


def test_what_is_fixed_reaches_the_server() -> None:
    run = run_file(
        story(
            "{model: {compressionJob: {name: int8}}, resources: {limits: {cpu: 1500m}},"
            " runtime: {executionProviders: [Cuda, Cpu], intraOpThreads: 2},"
            " batching: {mode: Auto, maxBatchSize: 16, maxDelayMilliseconds: 2, maxQueue: 32}}"
        )
    )
    assert (run.cpus, run.intra_op_threads, run.execution_providers) == (2, 2, ["Cuda", "Cpu"])
    assert run.batching.model_dump() == {
        "mode": "Auto",
        "maxBatchSize": 16,
        "maxDelayMilliseconds": 2,
        "maxQueue": 32,
    }


@pytest.mark.parametrize(
    "field",
    [
        "batching: {maxBatchSize: 0}",
        "batching: {mode: Always}",
        "batching: {maxQueue: 0}",
        "runtime: {executionProviders: []}",
        "runtime: {intraOpThreads: 0}",
    ],
)
def test_values_that_mean_nothing_are_refused(field: str) -> None:
    with pytest.raises(ValidationError):
        story(f"{{model: {{compressionJob: {{name: int8}}}}, {field}}}")
