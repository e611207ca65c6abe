"""An API server with etcd, controllers and, if wanted, a scheduler, on loopback; it needs neither root nor a node."""

import base64
import http.client
import json
import random
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacking import LackingError
from processes import Processes

ETCD, API_SERVER, CONTROLLERS, SCHEDULER = "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"
AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")
KUBECONFIG = "admin.kubeconfig"
SERVICES = "10.96.0.0/16"
LOOPBACK = "127.0.0.1"
SECONDS_TO_START = 120
# Below those that the kernel hands to clients: one that retries while the server is down could else connect to itself.
PORTS = range(20000, 32000)

Flags = Mapping[str, str]
Object = dict[str, Any]

_ETCD = {"data-dir": "etcd", "socket": "etcd.sock"}


class ControlPlane:
    """A control plane in a folder of its own. Another object for the same folder finds the same processes."""

    def __init__(self, folder: Path, kubebox: Path, *, dies_with_parent: bool = False) -> None:
        self.folder = folder.resolve()
        self.kubebox = kubebox
        self.processes = Processes(self.folder)
        self._dies_with_parent = dies_with_parent

    def up(
        self, *, scheduler: bool = False, api_server_flags: Flags | None = None, controller_flags: Flags | None = None
    ) -> None:
        """Be ready to serve, with the processes that run already or from nothing.

        Flags given here win over those of this module; a node needs another ``advertise-address``, for example.
        Raises ``LackingError`` when a process does not come up in time, with the end of its log.
        """
        wanted = [ETCD, API_SERVER, CONTROLLERS, *([SCHEDULER] if scheduler else [])]
        if all(map(self.processes.running, wanted)) and self.ready():
            return
        self.down()
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = {
            ETCD: _ETCD,
            API_SERVER: {**_api_server(free_port()), **(api_server_flags or {})},
            CONTROLLERS: {**_controllers(), **(controller_flags or {})},
            **({SCHEDULER: _scheduler()} if scheduler else {}),
        }
        self._flags.write_text(json.dumps(flags))
        subprocess.run([self.kubebox, "certificates", "certificates"], cwd=self.folder, check=True)
        for user in ("admin", CONTROLLERS, SCHEDULER):
            self.write_kubeconfig(user)
        try:
            self._start(ETCD)
            self.start_api_server()
        except LackingError:
            self.processes.kill_all()
            raise

    def down(self) -> None:
        """End all processes and remove the folder, if it is a cluster's."""
        self.check_owner()
        if self.folder.exists():
            self.processes.kill_all()
            shutil.rmtree(self.folder)

    def check_owner(self) -> None:
        """Raise ``LackingError`` if the folder holds something else than a cluster."""
        if self.folder.exists() and any(self.folder.iterdir()) and not self._flags.exists():
            raise LackingError(f"{self.folder} holds something else than a cluster; name another folder.")

    def stop_api_server(self) -> None:
        """End the API server as a crash would; its data stays.

        SIGTERM would let it drain open watches for a minute.
        """
        self.processes.kill(API_SERVER)

    def start_api_server(self) -> None:
        """Start it, on the port that it had, wait until it is ready, and start its controllers and scheduler anew.

        An outage of ten seconds ends them where they elect leaders, too. Left alone, they would look for the API server
        ever more seldom, each of their watches for itself, and be without eyes for up to a minute after it is back.
        """
        self._start(API_SERVER)
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.ready():
            for name in (ETCD, API_SERVER):
                if not self.processes.running(name):
                    raise LackingError(f"{name} ended at once; its log ends with:\n{self.processes.end_of_log(name)}")
            if time.monotonic() > deadline:
                raise LackingError(
                    f"the API server was not ready in {SECONDS_TO_START} s:\n{self.processes.end_of_log(API_SERVER)}"
                )
            time.sleep(0.05)
        for name in self._read_flags():
            if name in (CONTROLLERS, SCHEDULER):
                self.processes.kill(name)
                self._start(name)

    def ready(self) -> bool:
        """Whether the API server says so."""
        try:
            status, _ = self._ask("GET", "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    def get(self, path: str) -> Object | None:
        """The object of this path; none where the server has none."""
        status, answer = self._ask("GET", path)
        return json.loads(answer) if status == http.HTTPStatus.OK else None

    def apply(self, collection: str, body: Object) -> None:
        """Create the object in its collection, or make it as given."""
        path = f"{collection}/{body['metadata']['name']}?fieldManager=test-cluster&force=true"
        status, answer = self._ask("PATCH", path, json.dumps(body), {"Content-Type": "application/apply-patch+yaml"})
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise LackingError(f"{path} was refused: {answer.decode()}")

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, context=self.tls(), timeout=5)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that may do everything, without references to other files."""
        return self.folder / KUBECONFIG

    @property
    def port(self) -> int:
        return int(self._read_flags()[API_SERVER]["secure-port"])

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    def tls(self) -> ssl.SSLContext:
        """Trusts this API server, and shows it the administrator's certificate."""
        certificates = self.folder / "certificates"
        context = ssl.create_default_context(cafile=certificates / "ca.crt")
        context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
        return context

    def write_kubeconfig(self, user: str) -> None:
        """``USER.kubeconfig`` from the user's certificate."""
        authority, certificate, key = (
            base64.b64encode((self.folder / "certificates" / name).read_bytes()).decode()
            for name in ("ca.crt", f"{user}.crt", f"{user}.key")
        )
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"client-certificate-data": certificate, "client-key-data": key}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path = self.folder / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))

    @property
    def _flags(self) -> Path:
        """The flags of each process, for its next start; written before anything else, it marks the folder as ours."""
        return self.folder / "flags.json"

    def _read_flags(self) -> dict[str, dict[str, str]]:
        flags: dict[str, dict[str, str]] = json.loads(self._flags.read_text())
        return flags

    def _start(self, name: str) -> None:
        flags = self._read_flags()[name]
        command = [str(self.kubebox), name, *(f"--{flag}={value}" for flag, value in flags.items())]
        self.processes.start(name, command, dies_with_parent=self._dies_with_parent)


def _api_server(port: int) -> Flags:
    return {
        "bind-address": LOOPBACK,
        "secure-port": str(port),
        "advertise-address": LOOPBACK,
        "endpoint-reconciler-type": "none",  # no pod could reach loopback
        "etcd-servers": "unix://etcd.sock",
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "client-ca-file": "certificates/ca.crt",
        "tls-cert-file": "certificates/kube-apiserver.crt",
        "tls-private-key-file": "certificates/kube-apiserver.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": "certificates/service-accounts.key",
        "service-account-signing-key-file": "certificates/service-accounts.key",
    }


def _controllers() -> Flags:
    return {
        "kubeconfig": f"{CONTROLLERS}.kubeconfig",
        "leader-elect": "false",
        "secure-port": "0",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": "certificates/service-accounts.key",
        "root-ca-file": "certificates/ca.crt",
        # As many as a benchmark with a thousand jobs asks for: its subject is not this client's limit.
        "kube-api-qps": "500",
        "kube-api-burst": "1000",
        "horizontal-pod-autoscaler-sync-period": "5s",
    }


def _scheduler() -> Flags:
    return {"kubeconfig": f"{SCHEDULER}.kubeconfig", "leader-elect": "false", "secure-port": "0"}


def free_port() -> int:
    """One on loopback that nobody listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise LackingError(f"no free port between {PORTS.start} and {PORTS.stop} on {LOOPBACK}")
