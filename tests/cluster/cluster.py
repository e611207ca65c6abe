"""``cluster.py up|down|env``: a Kubernetes for tests on this machine."""
# ruff: noqa: T201

import argparse
import shlex
import sys
from pathlib import Path

import binaries
from control_plane import ControlPlane
from lacking import LackingError

STATE = binaries.BUILT / "state"


def main() -> int:
    actions = {"up": up, "down": down, "env": env}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=actions)
    parser.add_argument("--state", type=Path, default=STATE, help="folder of the cluster")
    arguments = parser.parse_args()
    try:
        actions[arguments.action](arguments.state)
    except LackingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def up(state: Path) -> None:
    """One cluster, however often it is called."""
    control_plane = ControlPlane(state, binaries.kubebox())
    control_plane.up(scheduler=True)
    print(f"Kubernetes {binaries.kubernetes()} is ready at {control_plane.url}; it has no node")


def down(state: Path) -> None:
    """Nothing is left, also where nothing was."""
    ControlPlane(state, Path()).down()


def env(state: Path) -> None:
    """What a shell evaluates to use the cluster."""
    control_plane = ControlPlane(state, Path())
    if not control_plane.kubeconfig.exists():
        raise LackingError("There is no cluster; `make cluster-up` starts one.")
    print(f"export KUBECONFIG={shlex.quote(str(control_plane.kubeconfig))}")


if __name__ == "__main__":
    sys.exit(main())
