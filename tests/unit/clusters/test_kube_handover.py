"""When an autoscaler is made the owner of a Deployment's replicas; what comes of it is seen on a real API server."""

import pytest
from pydantic import JsonValue

from modelyard.api.metadata import JsonObject
from modelyard.clusters.kube.handover import handover


def deployment(replicas: int | None, *owners: str, kind: str = "Deployment") -> JsonObject:
    """As it is found; without a number, as it is to be applied."""
    taken: JsonObject = {"f:spec": {"f:replicas": {}}}
    fields: list[JsonValue] = [{"manager": owner, "fieldsV1": taken} for owner in owners]
    fields.append({"manager": "other", "fieldsV1": {"f:status": {}}})
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "managedFields": fields},
        "spec": {} if replicas is None else {"replicas": replicas},
    }


def test_a_number_that_only_we_own_is_handed_over_as_it_is() -> None:
    assert handover(deployment(None), deployment(3, "us"), "us") == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "uid": "u"},
        "spec": {"replicas": 3},
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (deployment(3), deployment(3, "us")),
        (deployment(None), deployment(3, "us", "autoscaler")),
        (deployment(None), deployment(3, "autoscaler")),
        (deployment(None), deployment(3)),
        (deployment(None), deployment(1, "us")),
        (deployment(None), deployment(0, "us")),
        (deployment(None, kind="Service"), deployment(3, "us", kind="Service")),
    ],
    ids=["still applied", "shared", "not ours", "nobody's", "the default", "zero, which no autoscaler leaves", "other"],
)
def test_else_nothing_is_handed_over(wanted: JsonObject, found: JsonObject) -> None:
    assert handover(wanted, found, "us") is None
