"""A service under load from outside its pods: from one replica to three and back, and no request fails."""

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Self

import httpx
import pytest

from installed import Kubectl, Place, place, small_training
from waiting import until

THREADS = 4
ROWS = 4000


@pytest.fixture
def here(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[Place]:
    with place(client, kubectl, "scaling") as here:
        small_training(here)
        here.wait("trainingjobs", "small", "Complete")
        yield here


class Load:
    """Threads that ask, each request on a connection of its own, until told to stop."""

    def __init__(self, url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        tensor = {"name": "input", "datatype": "FP32", "shape": [ROWS, 4], "data": [0.5] * (ROWS * 4)}
        body = json.dumps({"inputs": [tensor]}).encode()
        unused = ssl.create_default_context()  # each request would make one, which takes longer than the server does
        while not self._stop.is_set():
            try:
                answer = httpx.post(self._url, content=body, timeout=30, verify=unused)
                outcome = str(answer.status_code)
            except httpx.HTTPError as error:
                outcome = repr(error)
            self.outcomes[outcome] += 1


def test_from_one_to_three_and_back_without_a_failed_request(here: Place) -> None:
    here.apply(
        {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": "small"},
            "spec": {
                "model": {"trainingJob": {"name": "small"}},
                "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "300m", "memory": "512Mi"}},
                "autoscaling": {
                    "minReplicas": 1,
                    "maxReplicas": 3,
                    "metrics": [{"type": "Cpu", "target": 70}],
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
                },
                "drain": {"preStopSeconds": 5},
            },
        }
    )
    here.wait("modelservices", "small", "Ready")

    def replicas() -> int:
        return int(here.cluster.status("modelservices", "small")["stable"]["readyReplicas"])

    began = time.monotonic()
    with Load(f"{here.url('small')}/v2/models/small/infer") as load:
        until(lambda: replicas() == 3, "three replicas are ready", seconds=180)
        up = time.monotonic() - began
        asked = load.outcomes.total()
        until(lambda: load.outcomes.total() > asked + 200, "the three are asked", seconds=60)
    print(f"three replicas after {up:.0f} s; {dict(load.outcomes)}")  # noqa: T201
    assert set(load.outcomes) == {"200"}
    until(lambda: replicas() == 1, "one is left", seconds=180)
    assert here.condition("modelservices", "small", "ScalingActive") == "True"
