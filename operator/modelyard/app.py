"""The operator on Kubernetes: kopf watches, our queue works. ``python -m modelyard.app``.

Of kopf only watching, authentication and probes are used: ``on.event`` feeds the cluster's cache. No handler writes
annotations or finalizers, so an operator that is uninstalled leaves nothing that blocks a delete.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping

import kopf

from modelyard.api.labels import KIND_LABEL
from modelyard.api.metadata import JsonObject
from modelyard.api.pods import Pod
from modelyard.api.workloads import CHILD_TYPES
from modelyard.clusters.kube.client import KubeClient
from modelyard.clusters.kube.cluster import KubeCluster
from modelyard.clusters.kube.resources import ResourceType, resource_types
from modelyard.engine.controller import Controller
from modelyard.kinds import KINDS
from modelyard.settings import OperatorSettings, from_environment

WATCHED_CHILDREN = tuple(str(model.model_fields["kind"].default) for model in (*CHILD_TYPES, Pod))
GUARD_SECONDS = 5.0
LOST_SECONDS = 60.0
UNREACHABLE_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, *(15,) * 240)
"""Waits between tries while the API server does not answer, an hour in all. kopf's own end after 54 s, and the watch
with them (kopf#1145)."""
logger = logging.getLogger(__name__)


def main() -> None:
    """Run the operator until it is told to stop; exit code 1 when it cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        settings = from_environment()
    except ValueError as error:
        sys.exit(f"error: {error}")
    asyncio.run(operate(settings))


async def operate(settings: OperatorSettings) -> None:
    """Keep all objects reconciled, until cancelled or told to stop by a signal. Raises what ends the watches."""
    resources = resource_types(KINDS)
    kinds = frozenset(kind.name for kind in KINDS)
    async with await KubeClient.from_environment() as client:
        cluster = KubeCluster(client, resources, watched=kinds)
        listed = asyncio.Event()
        registry = watches(cluster, resources, kinds, listed)
        controller = Controller(KINDS, cluster, settings.images)
        watches_wanted = (len(kinds) + len(WATCHED_CHILDREN)) * max(1, len(settings.namespaces))
        async with asyncio.TaskGroup() as tasks:
            work = [
                tasks.create_task(_work_when(listed, controller)),
                tasks.create_task(_guard(watches_wanted)),
            ]
            await kopf.operator(
                registry=registry,
                settings=_kopf_settings(resources),
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                liveness_endpoint=f"http://0.0.0.0:{settings.probe_port}/healthz",
            )
            for task in work:
                task.cancel()


class WatchLostError(Exception):
    """A watch ended and did not come back."""


async def _guard(least: int) -> None:
    """Raise WatchLostError when fewer than ``least`` watches are left for a minute.

    kopf goes on, and calls itself healthy, after a watch has died (kopf#1145). It names its tasks; this looks for them.
    """
    missing_since: float | None = None
    while True:
        await asyncio.sleep(GUARD_SECONDS)
        now = asyncio.get_running_loop().time()
        alive = sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
        missing_since = None if alive >= least else missing_since or now
        if missing_since is not None and now - missing_since > LOST_SECONDS:
            raise WatchLostError(f"{alive} of {least} watches work; are the CRDs installed, and may the operator list?")


async def _work_when(listed: asyncio.Event, controller: Controller) -> None:
    await listed.wait()
    logger.info("all objects are known; the work begins")
    await controller.run()


def watches(
    cluster: KubeCluster, resources: Mapping[str, ResourceType], kinds: frozenset[str], listed: asyncio.Event
) -> kopf.OperatorRegistry:
    """A registry of watches of all kinds, and of those children that carry our labels.

    kopf holds all event handlers back until every indexed kind has been listed. So the index functions fill the cache,
    and the first event sets ``listed``: from then on, what is not in the cache is not there.
    """
    registry = kopf.OperatorRegistry()

    async def login(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
        account = kopf.login_with_service_account(settings=settings)
        return account or kopf.login_with_kubeconfig(settings=settings)

    kopf.on.login(registry=registry)(login)

    async def known(body: kopf.Body, **_: object) -> None:
        cluster.seen(dict(body))

    async def seen(event: kopf.RawEvent, **_: object) -> None:
        listed.set()
        body: JsonObject = {**event["object"]}  # type: ignore[dict-item]  # JSON from the API server
        if event["type"] == "DELETED":
            cluster.gone(body)
        else:
            cluster.seen(body)

    for name in (*sorted(kinds), *WATCHED_CHILDREN):
        resource = resources[name]
        labels = {} if name in kinds else {KIND_LABEL: kopf.PRESENT}
        where = (resource.group, resource.version, resource.plural)
        kopf.index(*where, id=f"{resource.plural}-known", labels=labels, registry=registry)(known)
        kopf.on.event(*where, labels=labels, registry=registry)(seen)
    return registry


def _kopf_settings(resources: Mapping[str, ResourceType]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = UNREACHABLE_BACKOFFS
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    for name in WATCHED_CHILDREN:
        settings.watching.label_selectors[resources[name].group, resources[name].plural] = KIND_LABEL
    return settings


if __name__ == "__main__":
    main()
