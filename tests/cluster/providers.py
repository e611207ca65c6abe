"""Clusters that others run: kind's in Docker, and the one that the kubeconfig in use points at."""

import os
import shutil
import subprocess
from pathlib import Path

import binaries
from lacking import LackingError

KIND_CONFIG = Path(__file__).with_name("kind.yaml")
KIND_CLUSTER = "modelyard"
KIND_REGISTRY = "kind-registry"
REGISTRY_PORT = 5001
REGISTRY_IMAGE = "registry:3"


class Kind:
    """One in Docker with a registry beside it, as https://kind.sigs.k8s.io/docs/user/local-registry/ sets it up."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kind.kubeconfig"

    def up(self) -> str:
        if shutil.which("docker") is None:
            raise LackingError(
                "kind takes Docker, and `docker` is not on PATH: https://docs.docker.com/engine/install/"
            )
        _run("docker", "info")  # says so where there is no engine
        kind = str(binaries.kind())
        if not _succeeds("docker", "start", KIND_REGISTRY):
            published = f"127.0.0.1:{REGISTRY_PORT}:5000"
            _run("docker", "run", "-d", "--restart=always", "-p", published, "--network", "bridge",
                 "--name", KIND_REGISTRY, REGISTRY_IMAGE)  # fmt: skip
        if KIND_CLUSTER not in _run(kind, "get", "clusters").split():
            _run(kind, "create", "cluster", "--name", KIND_CLUSTER, "--config", str(KIND_CONFIG))
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(_run(kind, "get", "kubeconfig", "--name", KIND_CLUSTER))
        folder = f"/etc/containerd/certs.d/localhost:{REGISTRY_PORT}"
        for node in _run(kind, "get", "nodes", "--name", KIND_CLUSTER).split():
            _run("docker", "exec", node, "mkdir", "-p", folder)
            host = f'[host."http://{KIND_REGISTRY}:5000"]\n'
            _run("docker", "exec", "-i", node, "cp", "/dev/stdin", f"{folder}/hosts.toml", given=host)
        if not _succeeds("docker", "network", "connect", "kind", KIND_REGISTRY):
            networks = _run("docker", "inspect", "-f", "{{json .NetworkSettings.Networks.kind}}", KIND_REGISTRY)
            if networks.strip() == "null":
                raise LackingError(f"{KIND_REGISTRY} could not be connected to kind's network")
        return f"kind's cluster is ready; its registry is localhost:{REGISTRY_PORT}"

    def down(self) -> None:
        if shutil.which("docker") is None:
            return
        if KIND_CLUSTER in _run(str(binaries.kind()), "get", "clusters").split():
            _run(str(binaries.kind()), "delete", "cluster", "--name", KIND_CLUSTER)
        if _succeeds("docker", "inspect", KIND_REGISTRY):
            _run("docker", "rm", "--force", "--volumes", KIND_REGISTRY)
        self.kubeconfig.unlink(missing_ok=True)


class Current:
    """The context in use: it is looked at, and never changed."""

    def __init__(self) -> None:
        self.kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")

    def up(self) -> str:
        kubectl = str(binaries.kubectl())
        try:
            context = _run(kubectl, "config", "current-context").strip()
            _run(kubectl, "get", "--raw", "/readyz")
        except LackingError as error:
            raise LackingError(f"The context in use cannot be used: {error}") from error
        return f"the context {context} is ready"

    def down(self) -> None:
        """It is not ours."""


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LackingError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
