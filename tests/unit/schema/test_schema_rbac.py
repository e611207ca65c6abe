"""What is granted follows from the kinds and from the object types that the code names."""

import pytest
import yaml

from modelyard import app
from modelyard.api.resource import Resource
from modelyard.api.workloads import CHILD_TYPES, OPTIONAL_CHILD_TYPES, REFERRED_TYPES
from modelyard.clusters.kube import certificates
from modelyard.clusters.kube.resources import resource_types
from modelyard.engine.kind import Kind
from modelyard.kinds import KINDS
from modelyard.schema.chart import crd_template, rules_template
from modelyard.schema.rbac import PolicyRule, lease_rules, rules

ALL_REFERENCES = {
    "TrainingJob": """
        entrypoint: {script: t.py}
        code: {configMap: {name: code}}
        checkpoint: {uri: pvc://a/x}
        output: {uri: pvc://b/x}
        """,
    "CompressionJob": """
        source: {trainingJob: {name: t}}
        output: {uri: pvc://b/x}
        data: {calibration: {uri: pvc://c/x}, evaluation: {uri: pvc://d/x}}
        """,
    "ModelService": "model: {compressionJob: {name: c}}",
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind[Resource]:
    found: Kind[Resource] = request.param
    return found


def granted() -> dict[tuple[str, str], tuple[str, ...]]:
    return {(rule.group, resource): rule.verbs for rule in rules(KINDS) for resource in rule.resources}


def names(types: tuple[type, ...]) -> set[str]:
    return {each.__name__ for each in types}


def test_own_kinds_are_watched_and_only_their_status_is_written() -> None:
    ours = {resource: verbs for (group, resource), verbs in granted().items() if group == "modelyard.dev"}
    watched = {kind.plural: ("list", "watch") for kind in KINDS}
    assert ours == {**watched, **{f"{kind.plural}/status": ("patch",) for kind in KINDS}}


def test_every_child_type_is_watched_applied_and_deleted() -> None:
    types = resource_types(KINDS)
    needed = {"list", "watch", "create", "patch", "delete"}
    children = [types[name] for name in names(CHILD_TYPES)]
    assert [each.plural for each in children if not needed <= set(granted()[each.group, each.plural])] == []


def test_pods_are_only_looked_at() -> None:
    assert granted()["", "pods"] == ("list", "watch")


def test_nothing_is_granted_beyond_what_the_cluster_asks_for() -> None:
    asked = {(each.group, each.plural) for each in resource_types(KINDS, OPTIONAL_CHILD_TYPES).values()}
    status = {("modelyard.dev", f"{kind.plural}/status") for kind in KINDS}
    assert set(granted()) == asked | status | {("events.k8s.io", "events")}


def test_secrets_are_left_to_the_pods() -> None:
    assert [resource for _, resource in granted() if "secret" in resource] == []


def test_what_a_spec_refers_to_may_be_read(kind: Kind[Resource]) -> None:
    body = {"metadata": {"name": "a"}, "spec": yaml.safe_load(ALL_REFERENCES[kind.name])}
    referred = {each.key.kind for each in kind.references(kind.model.model_validate(body))}
    assert referred <= names(REFERRED_TYPES) | {kind.name for kind in KINDS}
    types = [resource_types(KINDS)[name] for name in referred & names(REFERRED_TYPES)]
    assert [each.plural for each in types if "get" not in granted()[each.group, each.plural]] == []


def test_only_our_lease_may_be_changed_and_only_our_certificate_read() -> None:
    found = [(rule.resources, rule.verbs, rule.names) for rule in lease_rules()]
    assert found == [
        (("leases",), ("create",), ()),
        (("leases",), ("get", "update"), (app.LEASE,)),
        (("secrets",), ("create",), ()),
        (("secrets",), ("get",), (certificates.SECRET,)),
    ]


def test_a_template_holds_the_rules_as_yaml() -> None:
    text = rules_template("x", [PolicyRule("", ("leases",), ("get", "update"), ("mine",))])
    head, *body, tail = text.splitlines()
    assert (head, tail) == ('{{- define "x" -}}', "{{- end }}")
    assert yaml.safe_load("\n".join(body)) == [
        {"apiGroups": [""], "resources": ["leases"], "verbs": ["get", "update"], "resourceNames": ["mine"]}
    ]


def test_braces_in_a_description_survive_the_template() -> None:
    assert "a: '{{ \"{{\" }}b}}'" in crd_template("metadata:\n  name: x\na: '{{b}}'\n")
