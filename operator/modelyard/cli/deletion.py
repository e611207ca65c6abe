"""``modelyard delete`` and ``modelyard stop``."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from modelyard.api.metadata import KubeObject, ObjectKey
from modelyard.api.pods import Pod
from modelyard.cli.errors import BadInput
from modelyard.cli.files import key_of, read
from modelyard.cli.session import Session, attended
from modelyard.clusters.process.cluster import ProcessCluster
from modelyard.clusters.process.store import ObjectStore

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05


async def delete(state: Path, what: Sequence[str], namespace: str) -> None:
    """Delete objects, and wait until their processes have ended.

    Names that do not exist are bad input; objects of a file may be gone already. Raises BadInput, Busy.
    """
    console = Console(markup=False, highlight=False)
    named, from_files = _keys(what, namespace)
    _require(named, ObjectStore(state / "objects"))  # a mistake disturbs nothing that runs
    with attended(state) as attendance:
        session = Session(state)
        cluster = session.cluster
        _require(named, cluster.store)
        cluster.makes_pods = attendance.goes_on or session.runs()
        async with session.working():
            for key in (*named, *from_files):
                if cluster.store.get(key) is not None:
                    await cluster.delete(key)
                    console.print(f"{key.kind.lower()}/{key.name} deleted")
            await _until_gone(cluster)
        attendance.goes_on = session.runs()


async def _until_gone(cluster: ProcessCluster) -> None:
    """Wait for what the deleted objects owned; pods that use up their grace period are killed."""
    for _ in range(int(DEADLINE_SECONDS / POLL_SECONDS)):
        if not _orphans(cluster):
            return
        await asyncio.sleep(POLL_SECONDS)
    while orphans := _orphans(cluster):
        for pod in cluster.store.every(Pod):
            if pod.key in orphans:
                cluster.node.kill(pod)
        await asyncio.sleep(POLL_SECONDS)


def _require(keys: Sequence[ObjectKey], store: ObjectStore) -> None:
    absent = [key for key in keys if store.get(key) is None]
    if absent:
        raise BadInput(*(f"{key.kind} {key.name!r} not found; `modelyard get` lists what is there" for key in absent))


async def stop(state: Path) -> None:
    """End all pods and the background process; objects and volumes stay. Raises Busy."""
    with attended(state) as attendance:
        attendance.goes_on = False
        session = Session(state)
        running = sum(not pod.finished for pod in session.cluster.store.every(Pod))
        async with session.working():
            await session.stop_pods()
    Console(highlight=False).print(f"{running} pods stopped")


def _keys(what: Sequence[str], namespace: str) -> tuple[list[ObjectKey], list[ObjectKey]]:
    """The objects that are named, and those of files, the last first: what depends goes before what it depends on."""
    files = [Path(text) for text in what if Path(text).is_file()]
    named = [key_of(text, namespace) for text in what if not Path(text).is_file()]
    return named, [KubeObject.model_validate(body).key for path in files for body in reversed(read(path))]


def _orphans(cluster: ProcessCluster) -> list[ObjectKey]:
    """Objects whose owners are all gone."""
    things = cluster.store.things()
    uids = {thing.metadata.uid for thing in things}
    return [
        thing.key
        for thing in things
        if thing.metadata.owner_references and all(each.uid not in uids for each in thing.metadata.owner_references)
    ]
