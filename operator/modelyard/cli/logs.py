"""``modelyard logs``: what an object's pods wrote."""

import sys
import time
from pathlib import Path

from modelyard.api.labels import KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import ObjectKey
from modelyard.api.pods import Pod
from modelyard.cli.errors import BadInput
from modelyard.cli.verdict import verdict
from modelyard.clusters.process.sandbox import Sandbox
from modelyard.clusters.process.store import ObjectStore

POLL_SECONDS = 0.2


def show(state: Path, key: ObjectKey, *, follow: bool) -> None:
    """Print the logs of all pods of the object, each line with its pod where there are several.

    ``follow`` goes on until the object is at rest and no pod runs. Raises BadInput where there is no such object.
    """
    if ObjectStore(state / "objects").get(key) is None:
        raise BadInput(f"{key.kind} {key.name!r} not found; `modelyard get` lists what is there")
    offsets: dict[str, int] = {}
    while True:
        pods = _pods(state, key)
        for pod in pods:
            prefix = f"[{pod.metadata.name}] " if len(pods) > 1 else ""
            offsets[pod.metadata.name] = _print_from(
                Sandbox(state, pod).log, offsets.get(pod.metadata.name, 0), prefix, whole=pod.finished
            )
        body = ObjectStore(state / "objects").get(key)
        if not follow or (verdict(body) != "working" and all(pod.finished for pod in pods)) or body is None:
            return
        time.sleep(POLL_SECONDS)


def _pods(state: Path, key: ObjectKey) -> list[Pod]:
    wanted = {KIND_LABEL: key.kind, NAME_LABEL: key.name}.items()
    pods = ObjectStore(state / "objects").every(Pod)
    return [pod for pod in pods if pod.metadata.namespace == key.namespace and wanted <= pod.metadata.labels.items()]


def _print_from(log: Path, offset: int, prefix: str, *, whole: bool) -> int:
    """Print the lines after ``offset`` (an unfinished last line only if ``whole``); returns the new offset."""
    try:
        with log.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except OSError:
        return offset
    end = len(data) if whole else data.rfind(b"\n") + 1
    for line in data[:end].decode(errors="replace").splitlines():
        sys.stdout.write(f"{prefix}{line}\n")
    sys.stdout.flush()
    return offset + end
