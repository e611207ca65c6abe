"""What of a TrainingJob may be changed, on a real API server."""

import httpx

from crds import complaints
from manifests import IMMUTABLE, apply, custom
from operators import Object


def test_a_training_may_be_suspended_and_resized_but_not_changed(
    crds: list[Object], client: httpx.Client, namespace: str
) -> None:
    elastic = "elastic: {minNodes: 1, maxNodes: 3}"
    apply(client, namespace, custom("TrainingJob", elastic)).raise_for_status()
    changes = "{nodes: 2, suspend: true, activeDeadlineSeconds: 9, cleanup: {pods: Always}}"
    changed = apply(client, namespace, custom("TrainingJob", elastic, changes)).raise_for_status()
    assert (changed.json()["spec"]["nodes"], changed.json()["spec"]["suspend"]) == (2, True)
    larger = apply(client, namespace, custom("TrainingJob", "elastic: {minNodes: 1, maxNodes: 4}", changes))
    assert complaints(larger) == [IMMUTABLE]


def test_a_training_of_fixed_size_keeps_it(crds: list[Object], client: httpx.Client, namespace: str) -> None:
    apply(client, namespace, custom("TrainingJob", "nodes: 1")).raise_for_status()
    answer = apply(client, namespace, custom("TrainingJob", "nodes: 2"))
    assert complaints(answer) == ["spec: nodes can be changed only with elastic"]
