"""Services as local ports: which port each has, and which pods stand behind it."""

from collections.abc import Mapping

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.workloads import Ingress, IngressPort, LoadBalancerStatus, Service, ServiceStatus
from modelyard.clusters.process.addresses import can_bind
from modelyard.clusters.process.proxy import LOOPBACK, LocalPort
from modelyard.clusters.process.store import ObjectStore

FIRST_PORT = 8080


class LocalServices:
    """Keeps a listening port for each Service that has a cluster address."""

    def __init__(self, store: ObjectStore, ports: Mapping[str, int]) -> None:
        """``ports`` asks for a port for the Services of these names; others get the first free one from 8080."""
        self._store = store
        self._ports = ports
        self._open: dict[ObjectKey, LocalPort] = {}

    async def tick(self) -> None:
        """Open, point and close ports as the Services and their pods ask. Raises OSError when none is free."""
        services = {each.key: each for each in self._store.every(Service) if each.spec.cluster_ip != "None"}
        for key in [key for key in self._open if key not in services]:
            await self._open.pop(key).close()
        for key, service in services.items():
            if key not in self._open:
                self._open[key] = await LocalPort.listen(self._choose(service))
                self._write(service, self._open[key].port)
            self._open[key].backends = self._backends(service)

    async def close(self) -> None:
        """Close all ports."""
        for port in self._open.values():
            await port.close()
        self._open.clear()

    def _choose(self, service: Service) -> int:
        """The port that was asked for, else the one it had, else the first free one."""
        asked = self._ports.get(service.metadata.name)
        if asked is not None:
            return asked
        had = [port.port for ingress in service.status.load_balancer.ingress for port in ingress.ports]
        candidates = [*had, *range(FIRST_PORT, FIRST_PORT + 1000)]
        return next((port for port in candidates if can_bind(LOOPBACK, port)), 0)

    def _backends(self, service: Service) -> list[tuple[str, int]]:
        selector = service.spec.selector.items()
        target = service.spec.ports[0].target_port
        return [
            (pod.status.pod_ip, port.container_port)
            for pod in self._store.every(Pod)
            if pod.ready and pod.status.pod_ip and selector <= pod.metadata.labels.items()
            for port in pod.spec.containers[0].ports
            if port.name == target
        ]

    def _write(self, service: Service, port: int) -> None:
        address = Ingress(ip=LOOPBACK, ports=[IngressPort(port=port)])
        status = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=[address]))
        changed = service.model_copy(update={"status": status})
        self._store.put(service.key, changed.model_dump(mode="json", exclude_none=True))
