"""The operator on Kubernetes: kopf watches, our queue works. ``python -m modelyard.app``.

Of kopf only watching, authentication and probes are used: ``on.event`` feeds the cluster's cache. No handler writes
annotations or finalizers, so an operator that is uninstalled leaves nothing that blocks a delete.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import kopf
from kubernetes.aio.config import ConfigException

from modelyard.api.metadata import JsonObject, plural_of
from modelyard.api.settings import ProgressEndpoint
from modelyard.api.workloads import OPTIONAL_CHILD_TYPES, ChildType, PodGroup
from modelyard.clusters.kube.certificates import Certificate, CertificateError, kept_certificate
from modelyard.clusters.kube.client import ApiError, KubeClient
from modelyard.clusters.kube.cluster import KubeCluster
from modelyard.clusters.kube.leadership import LeadershipLostError, Lease, while_leading
from modelyard.clusters.kube.progress import ProgressServer, progress_taken
from modelyard.clusters.kube.recorder import Recorder
from modelyard.clusters.kube.resources import ResourceType, resource_types
from modelyard.engine.controller import Controller
from modelyard.kinds import KINDS, trainingjob
from modelyard.settings import OperatorSettings, from_environment
from modelyard.telemetry import logs
from modelyard.telemetry.metrics import Metrics
from modelyard.telemetry.server import PortError, metrics_served, probes_answered

LEASE = "modelyard"
WORKERS = 10
"""So many objects are worked on at the same time; most of that is waiting for the API server."""
GUARD_SECONDS = 5.0
LOST_SECONDS = 60.0
UNREACHABLE_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, *(15,) * 240)
"""Waits between tries while the API server does not answer, an hour in all. kopf's own end after 54 s, and the watch
with them (kopf#1145)."""
logger = logging.getLogger(__name__)


def main() -> None:
    """Run the operator until it is told to stop; exit code 1, and one line, when it cannot go on."""
    try:
        settings = from_environment()
    except ValueError as error:
        sys.exit(f"error: {error}")
    logs.configure(settings.log_format)
    try:
        asyncio.run(operate(settings))
    except asyncio.CancelledError:
        logger.info("told to stop")
    except Exception as error:
        cause = _first(error)
        if isinstance(cause, EXPECTED):
            sys.exit(f"error: {cause}")
        raise


def _first(error: BaseException) -> BaseException:
    """What task groups have wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def operate(settings: OperatorSettings) -> None:
    """Keep all objects reconciled until told to stop by a signal; with a Lease, only while holding it.

    Raises, in an ExceptionGroup, WatchLostError and LeadershipLostError; what the API server answers to the first
    requests; PortError; CancelledError where the signal came before the work.
    """
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        # Until kopf installs its own.
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    metrics = Metrics(KINDS)
    async with (
        probes_answered(settings.probe_port),
        metrics_served(metrics.registry, settings.metrics_port),
        await KubeClient.from_environment() as client,
    ):
        logs.silence_retries(lambda: client.away)
        metrics.show_requests(client.requests)
        if settings.lease_namespace is None:
            await _work(client, settings, metrics)
        else:
            lease = Lease(client, LEASE, settings.lease_namespace, settings.identity)
            await while_leading(lease, lambda: _work(client, settings, metrics))


async def _work(client: KubeClient, settings: OperatorSettings, metrics: Metrics) -> None:
    """Watch and reconcile."""
    served = [each for each in OPTIONAL_CHILD_TYPES if await _served(client, each)]
    resources = resource_types(KINDS, served)
    recorder = Recorder(client, settings.identity)
    cluster = KubeCluster(client, resources, settings.namespaces, recorder)
    progress = await _progress(client, cluster, settings)
    endpoint = progress.endpoint if progress is not None else None
    known = replace(settings.images, progress=endpoint, pod_groups=PodGroup in served)
    controller = Controller(KINDS, cluster, known, metrics)
    metrics.leader.set(1)
    metrics.show_events(recorder.results)
    metrics.show_objects(lambda: cluster.known(*(kind.name for kind in KINDS)))
    watched = sum(resource.selector is not None for resource in resources.values())
    async with progress.taken() if progress is not None else nullcontext(), asyncio.TaskGroup() as tasks:
        work = [
            tasks.create_task(_controlled(controller)),
            tasks.create_task(cluster.keep_fresh()),
            tasks.create_task(recorder.run()),
            tasks.create_task(_guard(watched * max(1, len(settings.namespaces)), metrics)),
        ]
        registry = watches(cluster, resources, metrics.shown)

        async def end(**_: object) -> None:
            for task in work:
                task.cancel()

        # Before kopf waits for all tasks that have begun since it has.
        kopf.on.cleanup(registry=registry)(end)
        await kopf.operator(
            registry=registry,
            settings=_kopf_settings(resources),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
        )


class WatchLostError(Exception):
    """A watch ended and did not come back."""


EXPECTED = (WatchLostError, LeadershipLostError, PortError, ApiError, ConfigException, CertificateError)
"""What ends the operator with one line: nothing that a traceback would explain."""


@dataclass(frozen=True)
class Progress:
    """The progress server that is to run while this process works."""

    server: ProgressServer
    certificate: Certificate
    endpoint: ProgressEndpoint
    port: int

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take reports meanwhile. Raises PortError."""
        try:
            async with progress_taken(self.server, self.port, self.certificate.context()):
                yield
        except OSError as error:
            raise PortError(f"port {self.port} for progress cannot be had: {error.strerror}") from error


async def _served(client: KubeClient, child: ChildType) -> bool:
    """Whether this cluster has the type. Raises ApiError."""
    fields = child.model_fields
    return await client.serves(str(fields["api_version"].default), plural_of(str(fields["kind"].default)))


async def _progress(client: KubeClient, cluster: KubeCluster, settings: OperatorSettings) -> Progress | None:
    """What pods report to, if the installation says where. Raises ApiError."""
    url, namespace = settings.progress_url, settings.lease_namespace
    host = urlsplit(url).hostname if url is not None else None
    if url is None or host is None or namespace is None:
        return None
    certificate = await kept_certificate(client, namespace, host)
    endpoint = ProgressEndpoint(url, certificate.certificate.decode())
    return Progress(
        ProgressServer(client, cluster, trainingjob.KIND.name, {kind.plural: kind.name for kind in KINDS}),
        certificate,
        endpoint,
        settings.progress_port,
    )


async def _guard(least: int, metrics: Metrics) -> None:
    """Raise WatchLostError when fewer than ``least`` watches are left for a minute.

    kopf goes on, and calls itself healthy, after a watch has died (kopf#1145). It names its tasks; this looks for them.
    """
    missing_since: float | None = None
    while True:
        await asyncio.sleep(GUARD_SECONDS)
        now = asyncio.get_running_loop().time()
        alive = sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
        metrics.watches.set(alive)
        missing_since = None if alive >= least else missing_since or now
        if missing_since is not None and now - missing_since > LOST_SECONDS:
            raise WatchLostError(f"{alive} of {least} watches work; are the CRDs installed, and may the operator list?")


async def _controlled(controller: Controller) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controller.run(WORKERS))
        await controller.first_pass()
        logger.info("all objects are visited")


def watches(
    cluster: KubeCluster, resources: Mapping[str, ResourceType], shown: Callable[[str], None]
) -> kopf.OperatorRegistry:
    """A registry of watches of all kinds, and of those children that carry our labels; ``shown`` is told the kinds.

    Nothing is indexed: kopf would wake every object's task for each other one, which takes minutes for thousands. The
    cluster lists all objects itself before the work begins, and once more after kopf's watches have.
    """
    registry = kopf.OperatorRegistry()

    async def login(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
        account = kopf.login_with_service_account(settings=settings)
        return account or kopf.login_with_kubeconfig(settings=settings)

    kopf.on.login(registry=registry)(login)

    async def seen(event: kopf.RawEvent, **_: object) -> None:
        if event["type"] is None:
            cluster.missed()
        body: JsonObject = {**event["object"]}  # type: ignore[dict-item]  # JSON from the API server
        shown(str(body["kind"]))
        if event["type"] == "DELETED":
            cluster.gone(body)
        else:
            cluster.seen(body)

    for resource in resources.values():
        if resource.selector is None:
            continue
        labels = {resource.selector: kopf.PRESENT} if resource.selector else {}
        where = (resource.group, resource.version, resource.plural)
        kopf.on.event(*where, labels=labels, registry=registry)(seen)
    return registry


class _NoDiffs(kopf.DiffBaseStorage):
    """Nothing is stored of an object, and nothing copied of each event to compare it with."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: object) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: object) -> None:
        raise NotImplementedError


def _kopf_settings(resources: Mapping[str, ResourceType]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = UNREACHABLE_BACKOFFS
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    for resource in resources.values():
        if resource.selector:
            settings.watching.label_selectors[resource.group, resource.plural] = resource.selector
    return settings


if __name__ == "__main__":
    main()
