"""One operator at a time: work only while holding a Lease, by the rules of client-go's leaderelection.

``kubernetes.aio.leaderelection`` 36 cannot create a Lease, and ends at the first error of a connection.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime

from modelyard.api.metadata import JsonObject
from modelyard.clusters.kube.client import CONFLICT, NOT_FOUND, ApiError, KubeClient, NoAnswerError

LEASE_SECONDS = 15.0
"""A holder that is silent for so long is followed. Clocks are not compared: each operator measures by its own."""
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
RELEASE_SECONDS = 2.0
PREFIX = "/apis/coordination.k8s.io/v1/namespaces"
logger = logging.getLogger(__name__)


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time: another operator may hold it now."""


async def while_leading(lease: "Lease", work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Wait for the Lease, run ``work`` to its end, and give the Lease back.

    Raises, in an ExceptionGroup, LeadershipLostError, with ``work`` cancelled, and what ``work`` raises; ApiError where
    this operator may not have the Lease at all.
    """
    await lease.acquire()
    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(lease.keep())
            await work()
            keeping.cancel()
    finally:
        await lease.release()


class Lease:
    """A Lease as one operator sees it."""

    def __init__(self, client: KubeClient, name: str, namespace: str, identity: str) -> None:
        """``identity`` names this operator among all that want the Lease."""
        self._client = client
        self._name = name
        self._folder = f"{PREFIX}/{namespace}/leases"
        self._identity = identity
        self._seen: JsonObject = {}
        self._seen_at = 0.0

    async def acquire(self) -> None:
        """Return once this operator holds the Lease. Raises ApiError where asking again would not help."""
        waits = False
        while True:
            try:
                if await self._take():
                    logger.info("%s: leads", self._identity)
                    return
                if not waits:
                    logger.info("%s: waits for %s", self._identity, self._seen.get("holderIdentity"))
                waits = True
            except ApiError as error:
                if not (error.passing or error.status == CONFLICT):
                    raise
                level = logging.DEBUG if isinstance(error, NoAnswerError) else logging.WARNING
                logger.log(level, "%s: no lease yet: %s", self._identity, error)
            left = self._seen_at + LEASE_SECONDS - _clock()
            await asyncio.sleep(min(RETRY_SECONDS, left) if left > 0 else RETRY_SECONDS)

    async def keep(self) -> None:
        """Renew the Lease for ever. Raises LeadershipLostError when that has failed for RENEW_SECONDS."""
        lost_at = _clock() + RENEW_SECONDS
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            began = _clock()
            try:
                async with asyncio.timeout(lost_at - began):
                    held = await self._take()
            except (ApiError, TimeoutError) as error:
                if _clock() + RETRY_SECONDS < lost_at:
                    continue
                raise LeadershipLostError(f"{self._identity} could not renew its lease: {error}") from error
            if not held:
                raise LeadershipLostError(f"{self._identity} lost its lease to {self._seen.get('holderIdentity')}")
            lost_at = began + RENEW_SECONDS

    async def release(self) -> None:
        """Let the next operator begin at once, if this one still holds the Lease and the API server answers."""
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                found = await self._read()
                if found is not None and _spec(found).get("holderIdentity") == self._identity:
                    await self._write(found, {**_spec(found), "holderIdentity": ""})

    async def _take(self) -> bool:
        """Take or renew the Lease; False while somebody else holds it. Raises ApiError."""
        now = _clock()
        found = await self._read()
        if found is None:
            await self._client.request("POST", self._folder, body=self._manifest(claimed({}, self._identity, _now())))
            return True
        spec = _spec(found)
        if spec != self._seen:
            self._seen, self._seen_at = spec, now
        if spec.get("holderIdentity") not in ("", None, self._identity) and now - self._seen_at < LEASE_SECONDS:
            return False
        await self._write(found, claimed(spec, self._identity, _now()))
        return True

    async def _read(self) -> JsonObject | None:
        try:
            return await self._client.request("GET", f"{self._folder}/{self._name}")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _write(self, found: JsonObject, spec: JsonObject) -> None:
        """Replace the Lease if it still is as it was found; else the server says that there is a conflict."""
        await self._client.request("PUT", f"{self._folder}/{self._name}", body={**found, "spec": spec})

    def _manifest(self, spec: JsonObject) -> JsonObject:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": spec,
        }


def claimed(spec: JsonObject, identity: str, now: datetime) -> JsonObject:
    """What a Lease says once ``identity`` has taken or renewed it."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    renewed: JsonObject = {**spec, "leaseDurationSeconds": int(LEASE_SECONDS), "renewTime": stamp}
    if spec.get("holderIdentity") == identity:
        return renewed
    before = spec.get("leaseTransitions")
    transitions = before + 1 if isinstance(before, int) else 0
    return {**renewed, "holderIdentity": identity, "acquireTime": stamp, "leaseTransitions": transitions}


def _spec(lease: JsonObject) -> JsonObject:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _now() -> datetime:
    return datetime.now(UTC)
