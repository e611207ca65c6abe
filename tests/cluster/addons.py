"""Cluster DNS, pod metrics and volumes: processes beside the node, and the objects by which pods find them."""

import base64
import re
from pathlib import Path

from agents import DNS, DOMAIN
from control_plane import KUBECONFIG, ControlPlane, Object
from network import GATEWAY

COREDNS, METRICS_SERVER, PROVISIONER = "coredns", "metrics-server", "provisioner"
METRICS_PORT = 4443
RESOLVERS = Path("/etc/resolv.conf")


def coredns(folder: Path, program: Path) -> list[str]:
    """Names of the cluster, and those that the machine itself can resolve."""
    has_resolver = RESOLVERS.exists() and re.search(r"^nameserver ", RESOLVERS.read_text(), re.MULTILINE)
    (folder / "Corefile").write_text(f""".:53 {{
  bind {GATEWAY}
  errors
  kubernetes {DOMAIN} in-addr.arpa {{
    kubeconfig {folder / KUBECONFIG} test
    pods insecure
    ttl 2
  }}
  {f"forward . {RESOLVERS}" if has_resolver else ""}
  cache 2
}}
""")
    return [str(program), "-conf", "Corefile"]


def metrics_server(program: Path) -> list[str]:
    flags = {
        "kubeconfig": KUBECONFIG,
        "authentication-kubeconfig": KUBECONFIG,
        "authorization-kubeconfig": KUBECONFIG,
        "bind-address": GATEWAY,
        "secure-port": str(METRICS_PORT),
        "tls-cert-file": "certificates/metrics-server.crt",
        "tls-private-key-file": "certificates/metrics-server.key",
        "kubelet-certificate-authority": "certificates/ca.crt",
        "kubelet-client-certificate": "certificates/admin.crt",
        "kubelet-client-key": "certificates/admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",
        "kubelet-request-timeout": "5s",  # must be below the resolution
    }
    return [str(program), *(f"--{name}={value}" for name, value in flags.items())]


def provisioner(folder: Path, kubebox: Path) -> list[str]:
    return [str(kubebox), PROVISIONER, f"--kubeconfig={KUBECONFIG}", f"--folder={folder / 'volumes'}"]


def create_objects(control_plane: ControlPlane) -> None:
    """The Services of DNS and metrics, the metrics API, and the default StorageClass."""
    names = [("dns", 53, 53, "UDP"), ("dns-tcp", 53, 53, "TCP")]
    _service(control_plane, "kube-dns", names, {"clusterIP": DNS})
    _service(control_plane, METRICS_SERVER, [("https", 443, METRICS_PORT, "TCP")], {})
    authority = (control_plane.folder / "certificates/ca.crt").read_bytes()
    metrics_api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "service": {"name": METRICS_SERVER, "namespace": "kube-system"},
            "caBundle": base64.b64encode(authority).decode(),
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    control_plane.apply("/apis/apiregistration.k8s.io/v1/apiservices", metrics_api)
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "modelyard.dev/folders",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
    control_plane.apply("/apis/storage.k8s.io/v1/storageclasses", storage_class)


def _service(
    control_plane: ControlPlane, name: str, ports: list[tuple[str, int, int, str]], more: dict[str, str]
) -> None:
    """A Service without pods: its one endpoint is a process on the bridge."""
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "ports": [
                {"name": port, "port": number, "targetPort": target, "protocol": protocol}
                for port, number, target, protocol in ports
            ],
            **more,
        },
    }
    control_plane.apply("/api/v1/namespaces/kube-system/services", service)
    endpoints: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-host", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": port, "port": target, "protocol": protocol} for port, _, target, protocol in ports],
        "endpoints": [{"addresses": [GATEWAY], "conditions": {"ready": True}}],
    }
    control_plane.apply("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", endpoints)
