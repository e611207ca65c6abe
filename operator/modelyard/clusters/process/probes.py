"""Readiness probes: HTTP requests that go on while a pod runs."""

import asyncio

import httpx

from modelyard.api.pods import Pod, Probe

FIRST_PERIOD_SECONDS = 0.1


class Prober:
    """Asks pods whether they are ready, and remembers the answers by pod uid."""

    def __init__(self) -> None:
        # As a kubelet does, which takes any certificate.
        self._client = httpx.AsyncClient(trust_env=False, verify=False)  # noqa: S501
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ready: set[str] = set()

    def ready(self, pod: Pod) -> bool:
        """Whether the pod's newest probe succeeded; the first call starts probing. True where there is no probe.

        Until the first answer a pod is what it was: another process may have probed it before.
        """
        container = pod.spec.containers[0]
        probe = container.readiness_probe
        if probe is None:
            return True
        uid = pod.metadata.uid
        if uid not in self._tasks:
            if pod.ready:
                self._ready.add(uid)
            port = next(port.container_port for port in container.ports if port.name == probe.http_get.port)
            scheme = "https" if probe.http_get.scheme == "HTTPS" else "http"
            url = f"{scheme}://{pod.status.pod_ip}:{port}{probe.http_get.path}"
            self._tasks[uid] = asyncio.create_task(self._ask(uid, url, probe))
        return uid in self._ready

    def forget(self, pod: Pod) -> None:
        """Stop asking this pod."""
        self._ready.discard(pod.metadata.uid)
        task = self._tasks.pop(pod.metadata.uid, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop asking all pods."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._client.aclose()

    async def _ask(self, uid: str, url: str, probe: Probe) -> None:
        """Ask often at first, so that a start is noticed at once; a ready pod may miss a few probes."""
        pause, failures = FIRST_PERIOD_SECONDS, 0
        while True:
            try:
                answer = await self._client.get(url, timeout=probe.timeout_seconds)
                failures = 0 if answer.status_code == httpx.codes.OK else failures + 1
            except httpx.HTTPError:
                failures += 1
            if failures == 0:
                self._ready.add(uid)
            elif failures >= probe.failure_threshold:
                self._ready.discard(uid)
            pause = min(float(probe.period_seconds), pause * 1.5) if uid not in self._ready else probe.period_seconds
            await asyncio.sleep(pause)
