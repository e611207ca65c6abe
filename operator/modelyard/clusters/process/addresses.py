"""Addresses of pods and Services on this machine: a loopback address for each pod, a local port for each Service."""

import socket
import zlib
from pathlib import Path

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.workloads import Service
from modelyard.clusters.process.store import ObjectStore

PORT_ANNOTATION = "modelyard.dev/local-port-"
"""On a pod: the port of this machine that stands for the named port of the pod's."""


class AddressBook:
    """Gives addresses and finds them again. Linux only: all of 127.0.0.0/8 is loopback there."""

    def __init__(self, state: Path, store: ObjectStore) -> None:
        """Each state folder has a subnet of its own, so that two clusters on one machine seldom meet."""
        number = zlib.crc32(str(state.resolve()).encode())
        self._network = f"127.{64 + number % 60}.{number // 60 % 256}"
        self._store = store

    def assign(self, pod: Pod) -> str:
        """The pod's address: the one it has, or a free one at which its ports can be bound. Raises OSError."""
        if pod.status.pod_ip is not None:
            return pod.status.pod_ip
        taken = {other.status.pod_ip for other in self._store.every(Pod) if not other.finished}
        ports = [port.container_port for container in pod.spec.containers for port in container.ports]
        for host in range(2, 255):
            address = f"{self._network}.{host}"
            if address not in taken and all(can_bind(address, port) for port in ports):
                return address
        raise OSError(f"no free loopback address in {self._network}.0/24")

    def pod_address(self, hostname: str, subdomain: str, namespace: str, port: int | None) -> str | None:
        """The address of a pod by its DNS name, or of a port of it; None where there is no Service of that name.

        Raises LookupError while the pod has no address.

        A named port becomes a free port of this machine, since torch's TCPStore listens on all addresses.
        """
        if self._store.get(ObjectKey("Service", namespace, subdomain)) is None:
            return None
        for pod in self._store.every(Pod):
            same = (pod.spec.hostname, pod.spec.subdomain, pod.metadata.namespace) == (hostname, subdomain, namespace)
            if same and pod.status.pod_ip is not None and not pod.finished:
                address = pod.status.pod_ip
                return address if port is None else f"{address}:{self._local_port(pod, port)}"
        raise LookupError(f"pod {hostname}.{subdomain} has no address yet")

    def service_address(self, name: str, namespace: str) -> str | None:
        """``address:port`` of a Service, None where no Service has that name. Raises LookupError while it has none."""
        service = self._store.typed(ObjectKey("Service", namespace, name), Service)
        if service is None:
            return None
        for ingress in service.status.load_balancer.ingress:
            return f"{ingress.ip}:{ingress.ports[0].port}"
        raise LookupError(f"Service {name} has no local port yet")

    def _local_port(self, pod: Pod, port: int) -> str:
        annotation = f"{PORT_ANNOTATION}{port}"
        if annotation not in pod.metadata.annotations:
            annotations = {**pod.metadata.annotations, annotation: str(free_port())}
            metadata = pod.metadata.model_copy(update={"annotations": annotations})
            pod = pod.model_copy(update={"metadata": metadata})
            self._store.put(pod.key, pod.model_dump(mode="json", exclude_none=True))
        return pod.metadata.annotations[annotation]


def can_bind(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on now, at any address."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port
