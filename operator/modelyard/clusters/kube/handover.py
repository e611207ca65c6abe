"""How a Deployment's replicas come to an autoscaler without falling to one pod in between. Pure.

A field that is no longer applied, and that nobody else owns, goes back to its default. So a manager of another name is
made its owner first, as "Transferring ownership" in the Kubernetes documentation has it. The autoscaler takes it from
there: a write of another value makes the writer the only owner.
"""

from modelyard.api.metadata import JsonObject

HANDOVER_MANAGER = "modelyard-handover"


def handover(manifest: JsonObject, found: JsonObject, manager: str) -> JsonObject | None:
    """What ``HANDOVER_MANAGER`` must apply before ``manager`` applies ``manifest`` to ``found``, or None.

    A Deployment at zero is not handed over: no autoscaler starts it again, and the default of one pod does.
    """
    replicas = _part(found, "spec").get("replicas")
    if manifest["kind"] != "Deployment" or "replicas" in _part(manifest, "spec"):
        return None
    if not isinstance(replicas, int) or replicas <= 1 or _owners_of_replicas(found) != {manager}:
        return None
    metadata = _part(found, "metadata")
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
        "spec": {"replicas": replicas},
    }


def _owners_of_replicas(body: JsonObject) -> set[str]:
    """The managers that own ``spec.replicas`` (metadata.managedFields, FieldsV1)."""
    entries = _part(body, "metadata").get("managedFields")
    return {
        str(entry.get("manager"))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and "f:replicas" in _part(_part(entry, "fieldsV1"), "f:spec")
    }


def _part(body: JsonObject, name: str) -> JsonObject:
    found = body.get(name)
    return found if isinstance(found, dict) else {}
