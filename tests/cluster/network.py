"""The network of the node: one bridge, four rules of ours, and the removal of what kube-proxy adds to them."""

import re
import subprocess
from pathlib import Path

from lacking import LackingError

BRIDGE = "kubebox0"
GATEWAY = "10.244.0.1"  # certificates.go knows it too
PODS = "10.244.0.0/24"
CNI_NAME = "kubebox"
CNI_RESULTS = Path("/var/lib/cni/results")
# Pods reach the machine and what lies behind it, also where a firewall forwards nothing by itself.
RULES = (
    ("nat", f"POSTROUTING -s {PODS} ! -d {PODS} -m comment --comment {BRIDGE} -j MASQUERADE"),
    ("filter", f"FORWARD -s {PODS} -m comment --comment {BRIDGE} -j ACCEPT"),
    ("filter", f"FORWARD -d {PODS} -m comment --comment {BRIDGE} -j ACCEPT"),
    ("filter", f"INPUT -s {PODS} -m comment --comment {BRIDGE} -j ACCEPT"),
)
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def up(folder: Path) -> None:
    """The bridge with its address, marked as the folder's; host processes can bind the address at once.

    Raises ``LackingError`` where another node runs on this machine.
    """
    if other := owner():
        raise LackingError(f"the node of {other} runs here, and a machine has room for one; take it down first.")
    if any(_ours(_saved(family)) for family in FAMILIES):
        raise LackingError("kube-proxy has rules in iptables here: a Kubernetes of this machine's own seems to run.")
    try:
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "link", "set", BRIDGE, "alias", str(folder), "up")
        _run("ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        for table, rule in RULES:
            _run("iptables", "-w", "-t", table, "-I", *rule.split())
    except subprocess.CalledProcessError as error:
        raise LackingError(f"no network for pods can be made here: {error.stderr.strip()}") from error


def down(folder: Path) -> None:
    """Remove the bridge and all rules, if they are the folder's or of a folder that is gone."""
    if not _link().exists() or owner() not in {None, folder}:
        return
    for family in FAMILIES:
        if undo := removal(_saved(family)):
            subprocess.run([f"{family}-restore", "-w", "--noflush"], input=undo, text=True, check=True)
    _run("ip", "link", "delete", BRIDGE)
    for cached in CNI_RESULTS.glob(f"{CNI_NAME}-*-eth0"):
        sandbox = cached.name.removeprefix(f"{CNI_NAME}-").removesuffix("-eth0")
        cached.unlink()
        (CNI_RESULTS / f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)


def configuration(folder: Path) -> dict[str, object]:
    """What the CNI plugins are told."""
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "cni/addresses"),
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": CNI_NAME, "plugins": [bridge]}


def bridged_packets_meet_iptables() -> bool:
    """Whether an answer from pod to pod passes the rules that sent the question there."""
    return BRIDGED.exists() and BRIDGED.read_text().strip() == "1"


def removal(saved: str) -> str:
    """From the output of iptables-save, the input of iptables-restore that removes our rules and kube-proxy's chains.

    Empty when there is nothing to remove; rules of others stay.
    """
    tables = re.findall(r"^\*(\w+)\n(.*?)^COMMIT$", saved, re.DOTALL | re.MULTILINE)
    parts = []
    for table, text in tables:
        chains = re.findall(r"^:(KUBE-\S+)", text, re.MULTILINE)
        rules = [line for line in text.splitlines() if line.startswith("-A") and not line.startswith("-A KUBE-")]
        ours = [rule for rule in rules if _ours(rule)]
        if chains or ours:
            flushed = [f":{chain} - [0:0]" for chain in chains]
            undone = [rule.replace("-A", "-D", 1) for rule in ours]
            parts += [f"*{table}", *flushed, *undone, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "".join(f"{part}\n" for part in parts)


def _ours(rules: str) -> bool:
    return bool(re.search(rf"^:KUBE-| -[jg] KUBE-|--comment {BRIDGE} ", rules, re.MULTILINE))


FAMILIES = ("iptables", "ip6tables")


def _saved(family: str) -> str:
    return _run(f"{family}-save")


def _link() -> Path:
    return Path("/sys/class/net") / BRIDGE


def owner() -> Path | None:
    """The folder whose bridge it is; none where there is no bridge or no such folder any more."""
    if not _link().exists():
        return None
    folder = Path((_link() / "ifalias").read_text().strip() or "/nowhere")
    return folder if folder.exists() else None


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
