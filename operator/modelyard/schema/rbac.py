"""What the operator may ask of a Kubernetes API: exactly what its code asks for, as RBAC rules."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.api.metadata import GROUP, KubeObject, plural_of
from modelyard.api.pods import Pod
from modelyard.api.resource import Resource
from modelyard.api.workloads import CHILD_TYPES, OPTIONAL_CHILD_TYPES, REFERRED_TYPES
from modelyard.engine.kind import Kind

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
"""In the order in which a rule has them."""
WATCHED = ("list", "watch")
APPLIED = ("create", "patch")
"""Server-side apply is a patch; where it makes the object, the API server asks for ``create`` as well."""
LEASE = "modelyard"
CERTIFICATE = "modelyard-progress"


@dataclass(frozen=True)
class PolicyRule:
    """One rule of a Role or ClusterRole."""

    group: str
    """The API group, empty for the core group."""
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    """Only for objects of these names; empty: for all."""


def rules(kinds: Sequence[Kind[Resource]]) -> list[PolicyRule]:
    """What is asked for in each namespace whose objects are kept. Types that need the same verbs share a rule."""
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for kind in kinds:
        verbs[GROUP, kind.plural].update(WATCHED)
        verbs[GROUP, f"{kind.plural}/status"].add("patch")
    for child in (*CHILD_TYPES, *OPTIONAL_CHILD_TYPES):
        verbs[_where(child)].update((*WATCHED, *APPLIED, "delete"))
    verbs[_where(Pod)].update(WATCHED)
    for referred in REFERRED_TYPES:
        verbs[_where(referred)].add("get")
    verbs["events.k8s.io", "events"].add("create")
    alike: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), wanted in verbs.items():
        alike[group, _in_order(wanted)].append(resource)
    return [PolicyRule(group, tuple(resources), found) for (group, found), resources in alike.items()]


def lease_rules() -> list[PolicyRule]:
    """What is asked for in the namespace of the Lease and the certificate. A name cannot limit ``create``."""
    return [
        PolicyRule(group, (resource,), verbs, names=names)
        for group, resource, name, changes in (
            ("coordination.k8s.io", "leases", LEASE, ("get", "update")),
            ("", "secrets", CERTIFICATE, ("get",)),
        )
        for verbs, names in ((("create",), ()), (changes, (name,)))
    ]


def cluster_rules() -> list[PolicyRule]:
    """What is asked for that belongs to no namespace: whose token a progress report came with."""
    return [PolicyRule("authentication.k8s.io", ("tokenreviews",), ("create",))]


def _where(model: type[KubeObject]) -> tuple[str, str]:
    group = str(model.model_fields["api_version"].default).rpartition("/")[0]
    return group, plural_of(str(model.model_fields["kind"].default))


def _in_order(verbs: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(verbs, key=VERBS.index))
