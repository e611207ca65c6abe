"""All objects of one type as the API server has them now."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.metadata import JsonObject
from modelyard.clusters.kube.client import KubeClient
from modelyard.clusters.kube.resources import ResourceType

PAGE = 500


@dataclass(frozen=True)
class Listing:
    """A consistent list: whatever it lacks was not there at ``version``."""

    bodies: Sequence[JsonObject]
    version: int


async def list_all(client: KubeClient, kind: str, resource: ResourceType, namespace: str) -> Listing:
    """The watched objects of one type, in one namespace or, where that is empty, in all. Raises ApiError."""
    query = {"limit": str(PAGE), "labelSelector": resource.selector or ""}
    bodies: list[JsonObject] = []
    while True:
        answer = await client.request("GET", resource.collection(namespace), query=query)
        items, metadata = answer.get("items"), answer.get("metadata")
        assert isinstance(items, list)
        assert isinstance(metadata, dict)
        # Items of built-in lists do not say what they are.
        bodies += [
            {"apiVersion": resource.api_version, "kind": kind, **item} for item in items if isinstance(item, dict)
        ]
        if not metadata.get("continue"):
            return Listing(bodies, int(str(metadata["resourceVersion"])))
        query["continue"] = str(metadata["continue"])
