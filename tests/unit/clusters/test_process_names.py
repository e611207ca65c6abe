"""Cluster names and pod fields in environment values."""

import pytest

from modelyard.api.metadata import ObjectMeta
from modelyard.api.pods import Container, EnvVar, EnvVarSource, FieldReference, Pod, PodSpec
from modelyard.clusters.process.names import environment, expand, resolve

POD = Pod(
    metadata=ObjectMeta(name="digits-1", annotations={"batch.kubernetes.io/job-completion-index": "1"}),
    spec=PodSpec(containers=[Container(name="c", image="i")]),
)


def pod_address(hostname: str, subdomain: str, namespace: str, port: int | None) -> str | None:
    if namespace != "default":
        return None
    known = {("digits-0", "digits", "default"): "127.70.0.2", ("digits-1", "digits", "default"): "127.70.0.3"}
    address = known[hostname, subdomain, namespace]
    return address if port is None else f"{address}:4{port}"


def service_address(name: str, namespace: str) -> str | None:
    return {("web", "default"): "127.0.0.1:8080"}.get((name, namespace))


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("digits-0.digits.default.svc:2940", "127.70.0.2:42940"),
        ("digits-1.digits.default.svc", "127.70.0.3"),
        ("http://web.default.svc/v2", "http://127.0.0.1:8080/v2"),
        ("s3.example.com:443", "s3.example.com:443"),
        ("http://mlflow.tools.svc:5000", "http://mlflow.tools.svc:5000"),
        ("db-0.db.tools.svc:5432", "db-0.db.tools.svc:5432"),
    ],
)
def test_cluster_names_become_addresses(text: str, resolved: str) -> None:
    assert resolve(text, pod_address, service_address) == resolved


def test_a_name_without_an_address_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        resolve("other-0.other.default.svc", pod_address, service_address)


@pytest.mark.parametrize(
    ("text", "expanded"), [("$(A)-x", "1-x"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$A $(A)$(A)", "$A 11")]
)
def test_references_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_a_pod_finds_its_own_name_through_its_index() -> None:
    index = EnvVarSource(
        field_ref=FieldReference(field_path="metadata.annotations['batch.kubernetes.io/job-completion-index']")
    )
    variables = [
        EnvVar(name="PET_NODE_RANK", value_from=index),
        EnvVar(name="PET_LOCAL_ADDR", value="digits-$(PET_NODE_RANK).digits.default.svc"),
    ]
    assert environment(POD, variables, pod_address, service_address) == {
        "PET_NODE_RANK": "1",
        "PET_LOCAL_ADDR": "127.70.0.3",
    }


def test_an_unknown_field_is_a_lookup_error() -> None:
    source = EnvVarSource(field_ref=FieldReference(field_path="status.hostIP"))
    with pytest.raises(LookupError, match=r"status\.hostIP"):
        environment(POD, [EnvVar(name="X", value_from=source)], pod_address, service_address)
