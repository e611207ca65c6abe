"""kubelet and kube-proxy: what they are told, and what the API server is told for their sake."""

import json
from collections.abc import Mapping
from pathlib import Path

import network
from control_plane import AUDIT_POLICY

NODE = "kubebox"  # certificates.go knows it too
DNS = "10.96.0.10"
DOMAIN = "cluster.local"
AUDIT_LOG = "audit.log"
KUBELET, PROXY = "kubelet", "kube-proxy"


def api_server_flags() -> dict[str, str]:
    """Beside a node, pods ask the API server, it asks kubelet and metrics-server, and tells who asked it for what."""
    return {
        "bind-address": "0.0.0.0",  # pods reach it by the bridge
        "advertise-address": network.GATEWAY,
        "endpoint-reconciler-type": "lease",
        "kubelet-certificate-authority": "certificates/ca.crt",
        "kubelet-client-certificate": "certificates/admin.crt",
        "kubelet-client-key": "certificates/admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "enable-aggregator-routing": "true",
        "proxy-client-cert-file": "certificates/front-proxy.crt",
        "proxy-client-key-file": "certificates/front-proxy.key",
        "requestheader-client-ca-file": "certificates/ca.crt",
        "requestheader-allowed-names": "front-proxy",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "audit-policy-file": str(AUDIT_POLICY),
        "audit-log-path": AUDIT_LOG,
        "audit-log-maxsize": "100000",  # MB: one file, never turned over
    }


def kubelet(folder: Path, socket: Path) -> list[str]:
    """The sub-command and its flags, once the folder exists."""
    certificates = folder / "certificates"
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificates / "kubelet.crt"),
        "tlsPrivateKeyFile": str(certificates / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{socket}",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "clusterDNS": [DNS],
        "clusterDomain": DOMAIN,
        "resolvConf": "",  # names mean the same on every machine
        # Kubernetes' own network chains are kube-proxy's alone, so that one thing undoes them.
        "makeIPTablesUtilChains": False,
        # A machine for tests may have control groups of either version, swap, and few rights.
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": [],
        # Its disk may be nearly full; what tests pushed stays.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "healthzPort": 0,
    }
    return [
        KUBELET,
        f"--config={_written(folder, KUBELET, config)}",
        f"--kubeconfig={KUBELET}.kubeconfig",
        f"--hostname-override={NODE}",
        f"--node-ip={network.GATEWAY}",
        f"--root-dir={folder / KUBELET}",
        f"--cert-dir={certificates}",
    ]


def proxy(folder: Path) -> list[str]:
    """The sub-command and its flags, once the folder exists."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{PROXY}.kubeconfig"},
        "hostnameOverride": NODE,
        "mode": "iptables",
        "clusterCIDR": network.PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        # Limits of the whole machine's connections are not ours to set, and often may not be set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"masqueradeAll": not network.bridged_packets_meet_iptables()},
    }
    return [PROXY, f"--config={_written(folder, PROXY, config)}"]


def _written(folder: Path, name: str, config: Mapping[str, object]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config, indent=2))
    return path
