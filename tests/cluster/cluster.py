"""``cluster.py up|down|env``: a Kubernetes for tests on this machine."""
# ruff: noqa: T201

import argparse
import shlex
import sys
from pathlib import Path
from typing import Protocol

import binaries
from lacking import LackingError
from node import STATE, NodeCluster
from providers import Current, Kind


class Provider(Protocol):
    """What runs a cluster."""

    kubeconfig: Path

    def up(self) -> str:
        """One cluster, however often it is called; says in a line what is there."""

    def down(self) -> None:
        """Nothing is left, also where nothing was."""


class Kubebox:
    """Ours, as processes; with a node or with the API server and its controllers only."""

    def __init__(self, folder: Path, *, node: bool) -> None:
        self.cluster = NodeCluster(folder)
        self.node = node
        self.kubeconfig = self.cluster.kubeconfig

    def up(self) -> str:
        version = binaries.kubernetes()
        if self.node:
            self.cluster.up()
            return f"Kubernetes {version} is ready; images go to {self.cluster.registry}"
        control_plane = self.cluster.control_plane
        if self.cluster.has_node():
            raise LackingError("the cluster that runs has a node; `make cluster-down` ends it.")
        control_plane.kubebox = binaries.kubebox()
        control_plane.up(scheduler=True)
        return f"Kubernetes {version} is ready at {control_plane.url}; it has no node"

    def down(self) -> None:
        self.cluster.down()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("up", "down", "env"))
    parser.add_argument("--provider", choices=("kubebox", "kind", "current"), default="kubebox")
    parser.add_argument("--no-node", action="store_true", help="the API server and its controllers only; takes no root")
    parser.add_argument("--state", type=Path, default=STATE, help="folder of the cluster")
    arguments = parser.parse_args()
    providers: dict[str, Provider] = {
        "kubebox": Kubebox(arguments.state, node=not arguments.no_node),
        "kind": Kind(arguments.state.parent),
        "current": Current(),
    }
    provider = providers[arguments.provider]
    try:
        match arguments.action:
            case "up":
                print(provider.up())
                binaries.tools()
            case "down":
                provider.down()
            case _:
                print(env(provider))
    except LackingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def env(provider: Provider) -> str:
    """What a shell evaluates to use the cluster, with a kubectl and a helm that fit it."""
    if not provider.kubeconfig.exists():
        raise LackingError("There is no cluster; `make cluster-up` starts one.")
    path = f"{shlex.quote(str(binaries.tools()))}:$PATH"
    return f"export KUBECONFIG={shlex.quote(str(provider.kubeconfig))}\nexport PATH={path}"


if __name__ == "__main__":
    sys.exit(main())
