"""A pod's own folder: its root of links and files, its log, and the files that its shim writes."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.volumes import Volume
from modelyard.api.workloads import ConfigMap, Secret
from modelyard.clusters.process.shim import start_ticks
from modelyard.clusters.process.store import ObjectStore
from modelyard.contract import layout
from modelyard.contract.reports import TERMINATION_LIMIT, ProgressReport


class NotMountable(Exception):  # noqa: N818  not an error: the pod waits
    """A volume cannot be mounted yet; the message says which, and the remedy."""


@dataclass(frozen=True)
class Exit:
    """How a container's main process ended."""

    code: int
    finished_at: str


class Sandbox:
    """The files of one pod under ``<state>/pods/<namespace>.<name>``."""

    def __init__(self, state: Path, pod: Pod) -> None:
        self.folder = state / "pods" / f"{pod.metadata.namespace}.{pod.metadata.name}"
        self.root = self.folder / "root"
        self.log = self.folder / "log"
        self.temporary = (
            Path(tempfile.gettempdir()) / f"modelyard-{zlib.crc32(str(self.folder.absolute()).encode()):08x}"
        )
        """The pod's /tmp. Its path is short: sockets in it have names of at most 107 bytes."""
        self._volumes = state / "volumes"

    def started(self, pod: Pod, run: int) -> bool:
        """Whether the container's run was started already, by an owner of the cluster who could not write it down."""
        try:
            same = (self.folder / "uid").read_text() == pod.metadata.uid
        except OSError:
            return False
        return same and (self.shim_pid(run) is not None or self.exit(run) is not None)

    def build(self, pod: Pod, store: ObjectStore) -> None:
        """Make the root as the pod's mounts ask. Raises NotMountable, OSError."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        (self.root / layout.WORK).mkdir(parents=True)
        self.temporary.mkdir(mode=0o700)
        (self.folder / "uid").write_text(pod.metadata.uid)
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        for mount in pod.spec.containers[0].volume_mounts:
            inside = mount.mount_path.removeprefix(layout.DEFAULT_ROOT)
            if inside != mount.mount_path:
                self._mount(volumes[mount.name], self.root / inside.strip("/"), pod.metadata.namespace, store)

    def _mount(self, volume: Volume, target: Path, namespace: str, store: ObjectStore) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if volume.config_map is not None:
            config = store.typed(ObjectKey("ConfigMap", namespace, volume.config_map.name), ConfigMap)
            if config is None:
                raise NotMountable(f"ConfigMap {volume.config_map.name!r} not found")
            _fill(target, {name: text.encode() for name, text in config.data.items()})
        elif volume.secret is not None:
            secret = store.typed(ObjectKey("Secret", namespace, volume.secret.secret_name), Secret)
            if secret is None and not volume.secret.optional:
                raise NotMountable(f"Secret {volume.secret.secret_name!r} not found")
            _fill(target, {} if secret is None else secret.content)
        elif volume.persistent_volume_claim is not None:
            claim = volume.persistent_volume_claim.claim_name
            if store.get(ObjectKey("PersistentVolumeClaim", namespace, claim)) is None:
                raise NotMountable(f"PersistentVolumeClaim {claim!r} not found")
            folder = self._volumes / claim
            folder.mkdir(parents=True, exist_ok=True)
            target.symlink_to(folder.resolve(), target_is_directory=True)
        else:
            target.mkdir(exist_ok=True)

    def write_shim_spec(self, instance: int, argv: list[str], env: dict[str, str], grace_seconds: int) -> Path:
        """Write what the shim of the container's run number ``instance`` needs; returns the file."""
        code = self.root / layout.CODE
        spec = {
            "argv": argv,
            "env": env,
            "cwd": str(code if code.is_dir() else self.root / layout.WORK),
            "log": str(self.log),
            "state": str(self._state(instance)),
            "exit": str(self._exit(instance)),
            "graceSeconds": grace_seconds,
        }
        (self.root / layout.TERMINATION_LOG).unlink(missing_ok=True)
        (self.root / layout.WORK / layout.PROGRESS_FILE).unlink(missing_ok=True)
        path = self.folder / f"spec-{instance}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(spec))
        return path

    def shim_pid(self, instance: int) -> int | None:
        """The pid of the running shim, or None when it does not run (any more)."""
        try:
            state = json.loads(self._state(instance).read_text())
        except (OSError, ValueError):
            return None
        return state["pid"] if start_ticks(state["pid"]) == state["startTicks"] else None

    def exit(self, instance: int) -> Exit | None:
        """How the container's run ended, once it has."""
        try:
            ended = json.loads(self._exit(instance).read_text())
        except (OSError, ValueError):
            return None
        return Exit(ended["exitCode"], ended["finishedAt"])

    def termination_message(self) -> str:
        """What the container left in its termination log."""
        try:
            return (self.root / layout.TERMINATION_LOG).read_bytes()[:TERMINATION_LIMIT].decode(errors="replace")
        except OSError:
            return ""

    def progress_changed_at(self) -> int:
        """When the progress file was last replaced, in nanoseconds; 0 where there is none."""
        try:
            return (self.root / layout.WORK / layout.PROGRESS_FILE).stat().st_mtime_ns
        except OSError:
            return 0

    def progress(self) -> ProgressReport | None:
        """The newest progress report, if it can be read."""
        try:
            return ProgressReport.model_validate_json((self.root / layout.WORK / layout.PROGRESS_FILE).read_bytes())
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove the pod's folder; what its links point to stays."""
        self.remove_temporary()
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_temporary(self) -> None:
        """Remove the pod's /tmp: no process of the pod is left."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _state(self, instance: int) -> Path:
        return self.folder / f"shim-{instance}.json"

    def _exit(self, instance: int) -> Path:
        return self.folder / f"exit-{instance}.json"


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """A folder that only its owner reads, with these files."""
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
