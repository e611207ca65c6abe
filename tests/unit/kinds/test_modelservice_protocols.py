import pytest
from pydantic import ValidationError

from kind_stories import READY, Story, publisher
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


OVER_TLS = "{network: {authSecretRef: {name: access}, tlsSecretRef: {name: keys}}}"


def test_over_tls_the_port_is_that_of_https_and_the_probes_ask_so() -> None:
    found = story("{model: {compressionJob: {name: int8}}, " + OVER_TLS[1:])
    assert ports(found) == ([("http", 8080), ("grpc", 8081)], [("https", 443, None), ("grpc", 8081, None)])
    assert (run_file(found).token_secret, run_file(found).tls_secret) == ("access", "keys")
    status = found.resource.status
    assert (status.url, status.candidate is not None) == ("https://digits.default.svc", True)
    assert status.candidate is not None
    pods = found.child(Deployment, child_name(found.resource, status.candidate.revision)).spec.template.spec
    [container] = pods.containers
    assert container.readiness_probe is not None
    assert container.liveness_probe is not None
    assert {container.readiness_probe.http_get.scheme, container.liveness_probe.http_get.scheme} == {"HTTPS"}
    secrets = {each.name: each.secret.secret_name for each in pods.volumes if each.secret is not None}
    mounts = {secrets[each.name]: each.mount_path for each in container.volume_mounts if each.name in secrets}
    assert mounts == {"access": "/modelyard/secrets/access", "keys": "/modelyard/secrets/keys"}


def test_the_front_speaks_as_the_stable_revision_does_until_another_takes_over() -> None:
    found = story(DEFAULT)
    status = found.resource.status
    assert status.candidate is not None
    first = found.child(Deployment, child_name(found.resource, status.candidate.revision))
    found.run(first, READY)
    found.visit()
    found.edit(OVER_TLS)
    found.visit()
    front = found.child(Service, "digits").spec
    assert [(port.name, port.port) for port in front.ports] == [("http", 80), ("grpc", 8081)]
    second = found.resource.status.candidate
    assert second is not None
    found.run(found.child(Deployment, child_name(found.resource, second.revision)), READY)
    found.visit()
    found.visit()
    front = found.child(Service, "digits").spec
    assert [(port.name, port.port) for port in front.ports] == [("https", 443), ("grpc", 8081)]
    assert found.resource.status.url == "https://digits.default.svc"


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


def test_a_variable_of_the_server_is_a_new_revision_that_has_it() -> None:
    found = story(DEFAULT)
    first = found.resource.status.candidate
    found.edit("{runtime: {env: [{name: OTEL_TRACES_SAMPLER, value: always_on}]}}")
    found.visit()
    second = found.resource.status.candidate
    assert first is not None
    assert second is not None
    assert first.revision != second.revision
    pod = found.child(Deployment, child_name(found.resource, second.revision)).spec.template.spec
    assert {each.name: each.value for each in pod.containers[0].env} == {
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OTEL_TRACES_SAMPLER": "always_on",
    }


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONUNBUFFERED", "MODELYARD_HOST"])
def test_a_variable_that_is_reserved_is_refused_with_the_list_of_them(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        story(f"{{model: {{compressionJob: {{name: int8}}}}, runtime: {{env: [{{name: {name}}}]}}}}")
    (error,) = caught.value.errors()
    assert error["loc"] == ("spec", "runtime", "env", 0)
    assert error["msg"] == (
        "Value error, Modelyard sets this variable itself; choose another name (reserved names: OMP_NUM_THREADS,"
        " PYTHONUNBUFFERED and all that start with MODELYARD_)"
    )
