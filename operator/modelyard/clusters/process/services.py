"""Services as local ports: which port each has, and which pods stand behind it."""

from collections.abc import Mapping, Sequence

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.workloads import Ingress, IngressPort, LoadBalancerStatus, Service, ServicePort, ServiceStatus
from modelyard.clusters.process.addresses import can_bind
from modelyard.clusters.process.proxy import LOOPBACK, LocalPort
from modelyard.clusters.process.store import ObjectStore

FIRST_PORT = 8080


class LocalServices:
    """Keeps a listening port for each port of each Service that has a cluster address."""

    def __init__(self, store: ObjectStore, ports: Mapping[str, int]) -> None:
        """``ports`` asks for the first port of the Services of these names; others get the first free from 8080."""
        self._store = store
        self._ports = ports
        self._open: dict[tuple[ObjectKey, str], LocalPort] = {}

    async def tick(self) -> None:
        """Open, point and close ports as the Services and their pods ask. Raises OSError when none is free."""
        services = {each.key: each for each in self._store.every(Service) if each.spec.cluster_ip != "None"}
        wanted = {(key, port.name) for key, service in services.items() for port in service.spec.ports}
        for name in [name for name in self._open if name not in wanted]:
            await self._open.pop(name).close()
        for key, service in services.items():
            opened = [
                (number, port) for number, port in enumerate(service.spec.ports) if (key, port.name) not in self._open
            ]
            for number, port in opened:
                self._open[key, port.name] = await LocalPort.listen(self._choose(service, number))
            for port in service.spec.ports:
                self._open[key, port.name].backends = self._backends(service, port)
            if opened:
                self._write(service, [self._open[key, port.name].port for port in service.spec.ports])

    async def close(self) -> None:
        """Close all ports."""
        for port in self._open.values():
            await port.close()
        self._open.clear()

    def _choose(self, service: Service, number: int) -> int:
        """The port that was asked for, else the one it had, else the first free one."""
        asked = self._ports.get(service.metadata.name)
        if asked is not None and number == 0:
            return asked
        had = [port.port for ingress in service.status.load_balancer.ingress for port in ingress.ports]
        candidates = [*had[number : number + 1], *range(FIRST_PORT, FIRST_PORT + 1000)]
        return next((port for port in candidates if can_bind(LOOPBACK, port)), 0)

    def _backends(self, service: Service, of: ServicePort) -> list[tuple[str, int]]:
        selector = service.spec.selector.items()
        return [
            (pod.status.pod_ip, port.container_port)
            for pod in self._store.every(Pod)
            if pod.ready and pod.status.pod_ip and selector <= pod.metadata.labels.items()
            for port in pod.spec.containers[0].ports
            if port.name == of.target_port
        ]

    def _write(self, service: Service, ports: Sequence[int]) -> None:
        address = Ingress(ip=LOOPBACK, ports=[IngressPort(port=port) for port in ports])
        status = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=[address]))
        changed = service.model_copy(update={"status": status})
        self._store.put(service.key, changed.model_dump(mode="json", exclude_none=True))
