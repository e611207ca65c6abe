"""containerd for one node: its configuration, and the end of every container, whatever state it is in."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from lacking import LackingError
from packages import CNI_PLUGINS

NAMESPACE = "k8s.io"
CRI = "io.containerd.grpc.v1.cri"
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "kubepods"
LOG_LINKS = Path("/var/log/containers")
SECONDS = 20


class Containers:
    """The containers of a folder. Images are kept in another one, which outlives it."""

    def __init__(self, folder: Path, images: Path) -> None:
        self.folder = folder
        self.images = images
        self.socket = folder / "containerd.sock"
        self._state = folder / "containerd"

    def command(self, pause: str) -> list[str]:
        """Start with this, once the folder exists. ``pause`` is the image that holds a pod's namespaces."""
        return self._command(
            "containerd.toml",
            kubelets_part=f"""
[plugins."{CRI}"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{pause}"
[plugins."{CRI}".containerd]
  discard_unpacked_layers = true
[plugins."{CRI}".cni]
  bin_dir = "{CNI_PLUGINS}"
  conf_dir = "{self.folder}/cni"
""",
        )

    def _command(self, name: str, *, kubelets_part: str = "") -> list[str]:
        path = self.folder / name
        path.write_text(f"""version = 2
root = "{self.images}"
state = "{self._state}"
disabled_plugins = [{"" if kubelets_part else f'"{CRI}"'}]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.folder}/opt"
{kubelets_part}""")
        return ["containerd", "--config", str(path)]

    def wait(self) -> None:
        """Until containerd answers."""
        deadline = time.monotonic() + SECONDS
        while self._ctr("version").returncode:
            if time.monotonic() > deadline:
                raise LackingError(f"containerd did not answer in {SECONDS} s; see {self.folder}/containerd.log")
            time.sleep(0.05)

    def down(self) -> None:
        """End all containers once containerd is dead; also after a death in which nobody cleaned up."""
        if not self._state.exists():
            return
        self._kill_shims()
        _empty_cgroups()
        for address in self._state.glob("*/*/*/address"):
            Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)
        unmount_below(self.folder)
        for link in LOG_LINKS.glob("*.log"):
            if link.is_symlink() and link.readlink().is_relative_to(self.folder):
                link.unlink()
        self._forget()

    def _kill_shims(self) -> None:
        """They are nobody's children: known by the socket that they were told."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_text().split("\0")
                if Path(command[0]).name.startswith("containerd-shim") and str(self.socket) in command:
                    os.kill(int(process.name), signal.SIGKILL)

    def _forget(self) -> None:
        """Remove what the image store remembers of containers, with their writable layers; images stay."""
        self.socket.unlink(missing_ok=True)
        command = self._command("forgetting.toml")
        with (
            (self.folder / "containerd.log").open("ab") as log,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as containerd,
        ):
            try:
                self.wait()
                if known := self._ctr("containers", "list", "--quiet").stdout.split():
                    self._ctr("containers", "delete", *known)
            finally:
                containerd.terminate()

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", str(self.socket), "--namespace", NAMESPACE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def _empty_cgroups() -> None:
    """Kill what runs in the pods' control groups, in version 1 or 2, and remove them."""
    roots = [path for path in (CGROUPS / CGROUP, *CGROUPS.glob(f"*/{CGROUP}")) if path.is_dir()]
    deadline = time.monotonic() + SECONDS
    while pids := {pid for root in roots for file in root.rglob("cgroup.procs") for pid in _words(file)}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of pods survived SIGKILL for {SECONDS} s: {sorted(pids)}")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)
    for root in roots:
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        root.rmdir()


def _words(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text().split()
    return []


def unmount_below(folder: Path) -> None:
    """Also what is still in use: it is gone with its last user."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in reversed([point for point in points if Path(point).is_relative_to(folder)]):
        subprocess.run(["umount", "--lazy", point], check=True)
