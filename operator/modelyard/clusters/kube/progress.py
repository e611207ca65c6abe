"""Where pods report their progress: Kubeflow Trainer's protocol over TLS, each pod known by its own token.

``POST /apis/trainer.kubeflow.org/v1alpha1/namespaces/<namespace>/trainjobs/<name>/status`` with
``{"trainerStatus": {...}}`` (kubeflow/trainer, KEP-2779), to which our own launcher adds ``"modelyard": {...}`` with
the whole report. Pods of other kinds send that part alone to a path of our own. Unlike in Kubeflow, a report counts
only from a pod of the object in the path, and of its current attempt.
"""

import hashlib
import logging
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.api.labels import ATTEMPT_LABEL, KIND_LABEL, NAME_LABEL
from modelyard.api.metadata import JsonObject, ObjectKey
from modelyard.api.pods import Pod
from modelyard.api.settings import OWN_PROGRESS_PATH, PROGRESS_AUDIENCE, PROGRESS_PATH
from modelyard.clusters.kube.client import ApiError, KubeClient
from modelyard.clusters.kube.cluster import KubeCluster
from modelyard.contract.decimals import Decimal
from modelyard.contract.reports import ProgressReport

BODY_LIMIT = 64 * 1024
TRUSTED_SECONDS = 60.0
"""So long a token that the API server took is not shown to it again."""
MAX_TRUSTED = 4096
POD_NAME, POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
"""What a TokenReview says of a token that is bound to a pod (KEP-1205)."""
logger = logging.getLogger(__name__)

Reason = Literal["Unauthorized", "Forbidden", "NotFound", "Invalid", "ServiceUnavailable"]
CODES: Mapping[Reason, int] = {
    "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "Invalid": 422, "ServiceUnavailable": 503,
}  # fmt: skip


class Refusal(Exception):  # noqa: N818  an answer
    """The request is answered with a metav1.Status."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class _Lenient(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class TrainerMetric(_Lenient):
    """One metric as Kubeflow Trainer has it."""

    name: str = Field(max_length=63)
    value: Decimal


class TrainerStatus(_Lenient):
    """A progress report as Kubeflow Trainer has it."""

    progress_percentage: int | None = Field(default=None, ge=0, le=100)
    estimated_remaining_seconds: int | None = Field(default=None, ge=0)
    metrics: list[TrainerMetric] = Field(default=[], max_length=256)


class TrainerBody(_Lenient):
    """A request's body as Kubeflow Trainer has it, and what we add."""

    trainer_status: TrainerStatus
    modelyard: ProgressReport | None = None

    def report(self) -> ProgressReport:
        """Ours, where there is one."""
        return self.modelyard or _translated(self.trainer_status)


class OwnBody(_Lenient):
    """A request's body as our own pods send it."""

    modelyard: ProgressReport

    def report(self) -> ProgressReport:
        """The only one."""
        return self.modelyard


class ProgressServer:
    """Takes reports and hands them to the cluster."""

    def __init__(self, client: KubeClient, cluster: KubeCluster, trainjob: str, kinds: Mapping[str, str]) -> None:
        """``trainjob`` is the kind that Kubeflow's protocol calls so; ``kinds`` are all of ours by plural."""
        self._trainjob = trainjob
        self._kinds = kinds
        self._client = client
        self._cluster = cluster
        self._trusted: dict[str, tuple[float, ObjectKey, str]] = {}

    async def take(self, request: web.Request) -> web.Response:
        """Answer one report: 200 with it, or a metav1.Status."""
        where = request.match_info
        plural = where.get("plural")
        kind = self._trainjob if plural is None else self._kinds.get(plural, "")
        of: type[TrainerBody | OwnBody] = TrainerBody if plural is None else OwnBody
        try:
            body = of.model_validate_json(await request.read())
            pod = await self._pod_of(request)
            self._check_current(pod, ObjectKey(kind, where["namespace"], where["name"]))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            return _refused(Refusal("Invalid", f"{field}: {first['msg']}"))
        except Refusal as refusal:
            return _refused(refusal)
        except ApiError as error:
            return _refused(Refusal("ServiceUnavailable", str(error)))
        self._cluster.report(pod.key, body.report())
        return web.json_response(body.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def _pod_of(self, request: web.Request) -> Pod:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal("Unauthorized", "no bearer token; send the one that KUBEFLOW_TRAINER_SERVER_TOKEN names")
        key, uid = await self._identity(token)
        pod = self._cluster.pod(key)
        if pod is None or pod.metadata.uid != uid:
            raise Refusal("Forbidden", f"no pod {key.name} of Modelyard's with the token's uid")
        return pod

    async def _identity(self, token: str) -> tuple[ObjectKey, str]:
        """The pod that the token is bound to. Raises Refusal, ApiError."""
        digest, now = hashlib.sha256(token.encode()).hexdigest(), monotonic()
        until, key, uid = self._trusted.get(digest, (0.0, ObjectKey("Pod", "", ""), ""))
        if now < until:
            return key, uid
        spec: JsonObject = {"token": token, "audiences": [PROGRESS_AUDIENCE]}
        answer = await self._client.request(
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec},
        )
        try:
            review = TokenReview.model_validate(answer)
        except ValidationError as error:
            raise Refusal("Unauthorized", "the API server does not know this token for progress reports") from error
        user = review.status.user
        namespace = user.username.split(":")[2] if user.username.startswith("system:serviceaccount:") else ""
        names, uids = user.extra.get(POD_NAME, []), user.extra.get(POD_UID, [])
        if PROGRESS_AUDIENCE not in review.status.audiences or not (namespace and names and uids):
            raise Refusal("Forbidden", "the token is not bound to a pod, or not for progress reports")
        if len(self._trusted) >= MAX_TRUSTED:
            self._trusted = {each: entry for each, entry in self._trusted.items() if now < entry[0]}
        key = ObjectKey("Pod", namespace, names[0])
        if len(self._trusted) < MAX_TRUSTED:
            self._trusted[digest] = (now + TRUSTED_SECONDS, key, uids[0])
        return key, uids[0]

    def _check_current(self, pod: Pod, of: ObjectKey) -> None:
        """Raise Refusal unless the pod belongs to the object in the path, and to its current attempt if it has any."""
        labels = pod.metadata.labels
        if ObjectKey(labels.get(KIND_LABEL, ""), pod.metadata.namespace, labels.get(NAME_LABEL, "")) != of:
            raise Refusal("Forbidden", f"pod {pod.metadata.name} is none of {of.kind} {of.namespace}/{of.name}")
        attempt = self._cluster.attempt_of(of)
        if attempt is None:
            raise Refusal("NotFound", f"no {of.kind} {of.namespace}/{of.name}")
        if labels.get(ATTEMPT_LABEL, str(attempt)) != str(attempt):
            raise Refusal(
                "Forbidden", f"pod {pod.metadata.name} is of attempt {labels.get(ATTEMPT_LABEL)}, not {attempt}"
            )


class _User(_Lenient):
    username: str
    extra: dict[str, list[str]] = {}


class _Reviewed(_Lenient):
    authenticated: Literal[True]
    user: _User
    audiences: list[str] = []


class TokenReview(_Lenient):
    """What the API server says of a token that it takes."""

    status: _Reviewed


def _translated(status: TrainerStatus) -> ProgressReport:
    """A report of somebody who does not know ours: percent are steps of a hundred."""
    known = status.progress_percentage is not None
    return ProgressReport(
        stage="Training",
        step=status.progress_percentage or 0,
        total_steps=100 if known else None,
        eta_seconds=status.estimated_remaining_seconds,
        metrics={each.name: each.value for each in status.metrics if math.isfinite(float(each.value))},
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _refused(refusal: Refusal) -> web.Response:
    code = CODES[refusal.reason]
    status = {
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": refusal.reason, "message": str(refusal), "code": code,
    }  # fmt: skip
    return web.json_response(status, status=code)


@asynccontextmanager
async def progress_taken(server: ProgressServer, port: int, tls: ssl.SSLContext) -> AsyncIterator[None]:
    """Take reports on all addresses meanwhile. Raises OSError where the port cannot be had."""
    application = web.Application(client_max_size=BODY_LIMIT)
    for path in (PROGRESS_PATH, OWN_PROGRESS_PATH):
        application.router.add_post(f"/{path}", server.take)
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port, ssl_context=tls).start()
        logger.info("progress is taken at port %d", port)
        yield
    finally:
        await runner.cleanup()
