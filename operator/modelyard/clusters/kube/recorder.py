"""Events of ``events.k8s.io``: what ``kubectl describe`` shows of an object's history."""

import asyncio
import hashlib
import logging
from collections import Counter
from datetime import UTC, datetime

from modelyard.api.metadata import GROUP, JsonObject, KubeObject
from modelyard.clusters.kube.client import CONFLICT, ApiError, KubeClient
from modelyard.engine.events import Event
from modelyard.engine.observer import Written

CONTROLLER = f"{GROUP}/operator"
NOTE_BYTES = 1024
BACKLOG = 1000
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
NAME_LENGTH = 200
logger = logging.getLogger(__name__)


class Recorder:
    """Writes Events one after the other, beside the work: an Event may get lost, and is never written twice."""

    def __init__(self, client: KubeClient, identity: str) -> None:
        """``identity`` names this operator."""
        self._client = client
        self._identity = identity
        self._waiting: asyncio.Queue[tuple[KubeObject, JsonObject]] = asyncio.Queue(BACKLOG)
        self.results: Counter[Written] = Counter()

    def record(self, about: KubeObject, event: Event) -> None:
        """Have the Event written soon; with a long backlog it is lost."""
        try:
            self._waiting.put_nowait((about, manifest(about, event, self._identity, datetime.now(UTC))))
        except asyncio.QueueFull:
            self._lose(about, event.reason, f"{BACKLOG} others wait")

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        while True:
            await self._write(*await self._waiting.get())

    async def _write(self, about: KubeObject, body: JsonObject) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{about.metadata.namespace}/events"
        reason = str(body["reason"])
        for wait in (*RETRY_SECONDS, None):
            try:
                await self._client.request("POST", path, body=body)
            except ApiError as error:
                if error.status == CONFLICT:
                    break  # an earlier try has arrived, or that of another operator
                if not error.passing or wait is None:
                    self._lose(about, reason, str(error))
                    return
                await asyncio.sleep(wait)
            else:
                break
        self.results["written"] += 1

    def _lose(self, about: KubeObject, reason: str, why: str) -> None:
        self.results["lost"] += 1
        logger.warning("%s: Event %s lost: %s", about.key, reason, why)


def manifest(about: KubeObject, event: Event, identity: str, now: datetime) -> JsonObject:
    """The Event; its name follows from what it says and about which version of which object."""
    meta = about.metadata
    said = "\n".join((meta.uid, meta.resource_version or "", event.reason, event.note))
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name[:NAME_LENGTH]}.{digest}", "namespace": meta.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": identity[:128],
        "action": "Reconcile",
        "regarding": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version or "",
        },
        "type": event.type,
        "reason": event.reason,
        "note": event.note.encode()[:NOTE_BYTES].decode(errors="ignore"),
    }
