"""The Debian packages that a node takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lacking import LackingError

# What shows that a package is there, and its name.
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables-restore": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "umount": "mount",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
CNI_PLUGINS = Path("/usr/lib/cni")
WITHOUT = "Without a node, `tests/cluster/cluster.py up --no-node` gives the API server and its controllers."


def ensure() -> None:
    """Install those missing, as root on Debian. Raises ``LackingError`` elsewhere, and says what is missing."""
    if sys.platform != "linux":
        raise LackingError(f"A node takes Linux. {WITHOUT}")
    if os.geteuid() != 0:
        raise LackingError(f"A node takes root: it makes containers and a network. Use sudo. {WITHOUT}")
    missing = _missing()
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise LackingError(f"These programs are missing; their Debian packages are: {names}. {WITHOUT}")
    print(f"installing {names}", file=sys.stderr)  # noqa: T201
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            break
    if _missing():
        raise LackingError(f"apt-get could not install {names}:\n{done.stderr[-2000:]}\n{WITHOUT}")


def _missing() -> list[str]:
    return sorted({name for program, name in PACKAGES.items() if shutil.which(program) is None})
