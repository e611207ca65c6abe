"""Requests to a Kubernetes API: JSON in, JSON out, errors with the server's own words."""

import json
from collections.abc import Mapping
from typing import Self

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from modelyard.api.metadata import JsonObject
from modelyard.engine.cluster import ClusterError

APPLY = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML."""
REQUEST_SECONDS = 30.0
NOT_FOUND = 404
CONFLICT = 409


class ApiError(ClusterError):
    """The API server refused a request, or did not answer (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class KubeClient:
    """One connection pool. Use as an asynchronous context manager."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.requests: dict[int, int] = {}
        """Requests so far by status."""

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
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*parameters, _request_timeout=REQUEST_SECONDS)
            text = await response.read()
        except (TimeoutError, ApiException, aiohttp.ClientError, OSError) as error:
            self._count(0)
            raise ApiError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from error
        self._count(response.status)
        answer = _json(text)
        if response.status >= 400:
            reason, message = answer.get("reason"), answer.get("message")
            raise ApiError(
                response.status, str(reason or response.reason), str(message or f"{method} {path}: {response.status}")
            )
        return answer

    def _count(self, status: int) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1


def _json(text: bytes) -> JsonObject:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"message": text[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}
