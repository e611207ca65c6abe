"""Requests to a Kubernetes API: JSON in, JSON out, errors with the server's own words."""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from time import monotonic
from typing import Self

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from modelyard.api.metadata import JsonObject
from modelyard.engine.cluster import ClusterError, Unreachable

APPLY = "application/apply-patch+yaml; charset=utf-8"
"""Server-side apply. With the character set, ``kubernetes.aio`` sends the text as it is."""
MERGE = "application/merge-patch+json"
REQUEST_SECONDS = 30.0
NOT_FOUND = 404
CONFLICT = 409
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
UNAVAILABLE = 503
logger = logging.getLogger(__name__)


class ApiError(ClusterError):
    """The API server refused a request, or did not answer (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later: no answer, or a server in trouble."""
        return self.status in (0, TOO_MANY_REQUESTS) or self.status >= SERVER_ERROR


class NoAnswerError(ApiError, Unreachable):
    """The API server did not answer, or only that it cannot yet. The client logs when that begins and ends."""


class KubeClient:
    """One connection pool. Use as an asynchronous context manager."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.requests: Counter[tuple[str, int]] = Counter()
        """Requests so far by method and status, 0 where there was no answer."""
        self._away_since: float | None = None

    @property
    def away(self) -> bool:
        """Whether the last request got no answer that says something."""
        return self._away_since is not None

    @classmethod
    async def from_environment(cls) -> Self:
        """A client of the cluster that this pod runs in, or else of the one that ``KUBECONFIG`` names."""
        try:
            config.load_incluster_config()
        except config.ConfigException:
            await config.load_kube_config()
        configuration = client.Configuration.get_default_copy()
        # Else each request goes through a thread that looks for a ~/.netrc.
        configuration.client_session_kwargs = {"trust_env": False}
        return cls(client.ApiClient(configuration))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        """The answer's JSON. Raises ApiError."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        parameters = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=_yaml(body) if content_type == APPLY else body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*parameters, _request_timeout=REQUEST_SECONDS)
            text = await response.read()
        except (TimeoutError, ApiException, aiohttp.ClientError, OSError) as error:
            self.requests[method, 0] += 1
            missing = NoAnswerError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}")
            self._unanswered(missing)
            raise missing from error
        self.requests[method, response.status] += 1
        answer = _json(text)
        reason = str(answer.get("reason") or response.reason)
        message = str(answer.get("message") or f"{method} {path}: {response.status}")
        if response.status == UNAVAILABLE:
            missing = NoAnswerError(response.status, reason, message)
            self._unanswered(missing)
            raise missing
        self._answered()
        if response.status >= 400:
            raise ApiError(response.status, reason, message)
        return answer

    async def serves(self, api_version: str, plural: str) -> bool:
        """Whether the API server has that resource. Raises ApiError."""
        try:
            answer = await self.request("GET", f"/apis/{api_version}")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        resources = answer.get("resources")
        return isinstance(resources, list) and any(
            isinstance(each, dict) and each.get("name") == plural for each in resources
        )

    def _unanswered(self, error: NoAnswerError) -> None:
        if self._away_since is None:
            self._away_since = monotonic()
            logger.warning("the API server is away: %s", error)

    def _answered(self) -> None:
        if self._away_since is not None:
            logger.warning("the API server is back, after %.0f s", monotonic() - self._away_since)
            self._away_since = None


def _yaml(body: JsonObject | None) -> str:
    """JSON that is YAML too: JSON's escapes of characters beyond U+FFFF are none in YAML, nor are raw control codes."""
    text = json.dumps(body, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _json(text: bytes) -> JsonObject:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"message": text[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}
