"""The operator's rights against what it did in all the tests before: nothing refused, nothing granted in vain."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from installed import SYSTEM, Kubectl, place
from operators import sources, surplus, training
from waiting import until

ACCOUNT = f"system:serviceaccount:{SYSTEM}:modelyard"
COMPRESSION = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "CompressionJob",
    "metadata": {"name": "digits"},
    "spec": {"source": {"trainingJob": {"name": "digits"}}, "output": {"uri": "pvc://models/int8"}},
}
SERVICE = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "digits"},
    "spec": {
        "model": {"artifact": {"uri": "pvc://models/none", "digest": f"sha256:{64 * '1'}"}},
        "resources": {"limits": {"cpu": "100m"}},
        "autoscaling": {"maxReplicas": 2},
    },
}
Right = tuple[str, str, str]
"""Group, resource with its subresource, verb."""


def done(audit: Path) -> tuple[set[Right], set[str]]:
    """What the operator's service account did, and what it was refused."""
    used: set[Right] = set()
    refused: set[str] = set()
    for line in audit.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        where = entry.get("objectRef")
        if entry["user"]["username"] != ACCOUNT or where is None:
            continue
        resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
        used.add((where.get("apiGroup", ""), resource, entry["verb"]))
        if entry.get("responseStatus", {}).get("code") == httpx.codes.CREATED:
            # A patch that creates.
            used.add((where.get("apiGroup", ""), resource, "create"))
        # Uninstalling takes the right to give the Lease back before the pods are told to stop.
        if entry["annotations"]["authorization.k8s.io/decision"] == "forbid" and resource != "leases":
            refused.add(entry["requestURI"])
    return used, refused


def granted(client: httpx.Client) -> set[Right]:
    """What its ClusterRole and the Role of its Lease grant."""
    base = "/apis/rbac.authorization.k8s.io/v1"
    roles = [
        client.get(f"{base}/clusterroles/modelyard"),
        client.get(f"{base}/namespaces/{SYSTEM}/roles/modelyard-lease"),
    ]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role.raise_for_status().json()["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.last
def test_every_right_is_used_and_none_is_missing(
    client: httpx.Client, kubectl: Kubectl, audit_log: Path, modelyard: None
) -> None:
    with place(client, kubectl, "rights") as here:
        sources(here.cluster)
        training(here.cluster)
        here.apply(COMPRESSION, SERVICE)
        until(lambda: any("horizontalpod" in name for name in here.cluster.children()), "the service's autoscaler")
        surplus(here.cluster)
        until(lambda: not any("surplus" in name for name in here.cluster.children()), "what nobody wants is gone")
    used, refused = done(audit_log)
    assert refused == set()
    assert granted(client) - used == set()
