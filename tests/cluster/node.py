"""A Kubernetes with one node on this machine: containerd, kubelet and what pods need, as processes.

It takes root, Linux and a few Debian packages, and no Docker.
"""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import addons
import agents
import binaries
import network
import packages
from containers import Containers
from control_plane import API_SERVER, CONTROLLERS, ETCD, LOOPBACK, SCHEDULER, ControlPlane, free_port
from lacking import LackingError

STATE = binaries.BUILT / "state"
CONTAINERD, REGISTRY = "containerd", "registry"
CONTAINERD_STARTS = "server is not initialized yet"
"""What containerd answers a kubelet that comes too early, which ends then."""
PREFERRED_PORT = 5001
SECONDS_TO_READY = 120
PROCESSES = (
    *(ETCD, API_SERVER, CONTROLLERS, SCHEDULER, REGISTRY, CONTAINERD),
    *(agents.KUBELET, agents.PROXY, addons.COREDNS, addons.METRICS_SERVER, addons.PROVISIONER),
)


class NodeCluster:
    """A cluster with a node, in a folder of its own. A machine has room for one; another object finds the same.

    Images that were pushed or pulled stay in ``build/cluster`` when the cluster goes, so that they move once.
    """

    node = agents.NODE
    gateway = network.GATEWAY
    """The node's address, on which pods reach processes of this machine."""

    def __init__(self, folder: Path = STATE) -> None:
        self.control_plane = ControlPlane(folder, Path())
        self.folder = self.control_plane.folder
        self.processes = self.control_plane.processes
        self._kubelet: list[str] = []
        self._containers = Containers(self.folder, binaries.BUILT / "images")

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that may do everything."""
        return self.control_plane.kubeconfig

    @property
    def audit_log(self) -> Path:
        """A line of JSON for each request that the API server answered."""
        return self.folder / agents.AUDIT_LOG

    @property
    def registry(self) -> str:
        """Where images are pushed to and pulled from by plain HTTP, such as 127.0.0.1:5001."""
        return self._registry.read_text()

    def running(self) -> bool:
        """Whether all its processes run and the API server serves."""
        return all(map(self.processes.running, PROCESSES)) and self.control_plane.ready()

    def has_node(self) -> bool:
        """Whether a node was started in this folder, and not taken down since."""
        return self._registry.exists()

    def up(self) -> None:
        """Be ready to run pods, with the processes that run already or from nothing.

        Raises ``LackingError`` where that cannot be, and says what is lacking and how to get it.
        """
        packages.ensure()
        kubebox = self.control_plane.kubebox = binaries.kubebox(node=True)
        coredns, metrics_server, pod = binaries.coredns(), binaries.metrics_server(), binaries.pod()
        if self.running():
            return
        self.down()
        _clear_after_the_dead()
        try:
            self.control_plane.up(scheduler=True, api_server_flags=agents.api_server_flags())
            network.up(self.folder)
            self._start_registry(kubebox)
            pause = self.push(pod)
            self._start_node(kubebox, pause)
            self._start(addons.COREDNS, addons.coredns(self.folder, coredns))
            self._start(addons.METRICS_SERVER, addons.metrics_server(metrics_server))
            self._start(addons.PROVISIONER, addons.provisioner(self.folder, kubebox))
            addons.create_objects(self.control_plane)
            self._wait()
        except BaseException:
            self.clear()
            raise

    def down(self) -> None:
        """Leave no process, container, mount, network or folder, whatever of them was left."""
        self.control_plane.check_owner()
        self.clear()
        self.control_plane.down()

    def push(self, program: Path) -> str:
        """Make an image that holds one static program and starts it; returns its name."""
        name = f"{self.registry}/{program.name}:latest"
        subprocess.run([self.control_plane.kubebox, "image", program, name], check=True)
        return name

    def clear(self) -> None:
        """Leave no process, container, mount or network; the folder stays."""
        self.processes.kill_all()
        self._containers.down()
        network.down(self.folder)

    def _start_registry(self, kubebox: Path) -> None:
        port = _port_or_another(PREFERRED_PORT)
        self._registry.write_text(f"{LOOPBACK}:{port}")
        folder = binaries.BUILT / REGISTRY
        self._start(REGISTRY, [str(kubebox), REGISTRY, f"--listen={self.registry}", f"--folder={folder}"])
        self._until(lambda: _accepts(port), REGISTRY)

    def _start_node(self, kubebox: Path, pause: str) -> None:
        cni = self.folder / "cni"
        cni.mkdir()
        (cni / "bridge.conflist").write_text(json.dumps(network.configuration(self.folder)))
        self._start(CONTAINERD, self._containers.command(pause))
        self._containers.wait()
        for user in (agents.KUBELET, agents.PROXY):
            self.control_plane.write_kubeconfig(user)
        self._kubelet = [str(kubebox), *agents.kubelet(self.folder, self._containers.socket)]
        self._start(agents.KUBELET, self._kubelet)
        self._start(agents.PROXY, [str(kubebox), *agents.proxy(self.folder)])

    def _wait(self) -> None:
        """Until the node takes pods and every process has outlived its start."""

        def ready() -> bool:
            self._start_again_what_came_too_early()
            return self._ready()

        self._until(ready, agents.KUBELET)
        for name in PROCESSES:
            if not self.processes.running(name):
                raise LackingError(f"{name} ended; its log ends with:\n{self.processes.end_of_log(name)}")

    def _start_again_what_came_too_early(self) -> None:
        """The kubelet, as systemd does."""
        too_early = CONTAINERD_STARTS in self.processes.end_of_log(agents.KUBELET)
        if too_early and not self.processes.running(agents.KUBELET):
            self._start(agents.KUBELET, self._kubelet)

    def _ready(self) -> bool:
        node = self.control_plane.get(f"/api/v1/nodes/{self.node}") or {}
        conditions = {each["type"]: each["status"] for each in node.get("status", {}).get("conditions", [])}
        return conditions.get("Ready") == "True"

    def _until(self, ready: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_READY
        while not ready():
            if not self.processes.running(name) or time.monotonic() > deadline:
                raise LackingError(f"{name} did not get ready; its log ends with:\n{self.processes.end_of_log(name)}")
            time.sleep(0.05)

    def _start(self, name: str, command: list[str]) -> None:
        self.processes.start(name, command)

    @property
    def _registry(self) -> Path:
        return self.folder / "registry"


def _clear_after_the_dead() -> None:
    """Take down what is left of another folder's node whose processes all ended without it, as when a machine stops."""
    other = network.owner()
    if other is not None:
        node = NodeCluster(other)
        if not any(map(node.processes.running, node.processes.pids())):
            node.clear()


def _port_or_another(preferred: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            return free_port()
    return preferred


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
