"""Cluster names in environment values, resolved to addresses of this machine. Pure."""

import re
from collections.abc import Callable, Mapping

from modelyard.api.pods import EnvVar, Pod

_POD_NAME = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.([a-z0-9-]+)\.svc\b(?::(\d+))?")
_SERVICE_NAME = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc\b(?::(\d+))?")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")

PodAddress = Callable[[str, str, str, int | None], str | None]
"""(hostname, subdomain, namespace, port) -> ``address`` or ``address:port``; None for a name of something else.

Raises LookupError while it has no address yet.
"""
ServiceAddress = Callable[[str, str], str | None]
"""(service, namespace) -> ``address:port``; None for a name of something else. Raises LookupError."""


def environment(
    pod: Pod, variables: list[EnvVar], pod_address: PodAddress, service_address: ServiceAddress
) -> dict[str, str]:
    """The values of a container's variables: fields of the pod, ``$(NAME)`` of earlier ones, then names to addresses.

    Raises LookupError where a name or a field is not known (yet).
    """
    values: dict[str, str] = {}
    for variable in variables:
        if variable.value_from is not None:
            values[variable.name] = _field(pod, variable.value_from.field_ref.field_path)
        else:
            text = expand(variable.value or "", values)
            values[variable.name] = resolve(text, pod_address, service_address)
    return values


def expand(text: str, values: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced as Kubernetes does: unknown names stay as they are, ``$$`` is one ``$``."""
    parts = text.split("$$")
    return "$".join(_REFERENCE.sub(lambda match: values.get(match[1], match[0]), part) for part in parts)


def resolve(text: str, pod_address: PodAddress, service_address: ServiceAddress) -> str:
    """``text`` with cluster names replaced by addresses of this machine; other names stay. Raises LookupError."""
    text = _POD_NAME.sub(
        lambda match: pod_address(match[1], match[2], match[3], int(match[4]) if match[4] else None) or match[0], text
    )
    return _SERVICE_NAME.sub(lambda match: service_address(match[1], match[2]) or match[0], text)


def _field(pod: Pod, path: str) -> str:
    metadata = pod.metadata
    simple = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "status.podIP": pod.status.pod_ip or "",
    }
    if path in simple:
        return simple[path]
    for prefix, values in (("metadata.annotations", metadata.annotations), ("metadata.labels", metadata.labels)):
        if path.startswith(f"{prefix}['") and path.endswith("']"):
            return values[path[len(prefix) + 2 : -2]]
    raise LookupError(f"fieldRef {path} is not known on this machine")
