"""Modelyard on a cluster as its users have it: commands they type, the chart, and one namespace a test."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from charts import CHART, Helm
from operators import Cluster, Object, fresh_namespace, sources
from waiting import until

SYSTEM = "modelyard-system"
RELEASE = "modelyard"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Kubectl:
    """The kubectl program with the rights of an administrator, in one namespace."""

    def __init__(self, program: Path, kubeconfig: Path, namespace: str = "default") -> None:
        self._command = [str(program), "--namespace", namespace]
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self.program, self.kubeconfig = program, kubeconfig

    def of(self, namespace: str) -> "Kubectl":
        """The same for another namespace."""
        return Kubectl(self.program, self.kubeconfig, namespace)

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 300) -> str:
        """What it prints. Fails with what it complained of."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Place:
    """A namespace in which all pods must pass Pod Security "restricted"."""

    kubectl: Kubectl
    cluster: Cluster
    namespace: str

    def apply(self, *objects: Object) -> str:
        """``kubectl apply`` of these objects."""
        everything = {"apiVersion": "v1", "kind": "List", "items": objects}
        return self.kubectl("apply", "-f", "-", stdin=json.dumps(everything))

    def condition(self, plural: str, name: str, kind: str) -> str:
        """The status of a condition, empty where there is none."""
        return str(self.cluster.condition(plural, name, kind).get("status", ""))

    def assert_alive(self, plural: str, name: str) -> None:
        """Fail, with the object's story, where it has ended badly or cannot go on."""
        state = self.cluster.status(plural, name).get("state")
        assert state not in ("Failed", "Rejected", "Refused", "Blocked"), self.story(plural, name)

    def wait(self, plural: str, name: str, condition: str, seconds: float = 300) -> None:
        """``kubectl wait``, ended early by the object's own end."""

        def there() -> bool:
            if self.condition(plural, name, condition) == "True":
                return True
            self.assert_alive(plural, name)
            return False

        until(there, f"{plural} {name} is {condition}", seconds)

    def url(self, service: str) -> str:
        """Where a ModelService answers; kube-proxy hears of a ready pod a moment later than we do."""
        found = self.cluster.get("services", service)
        assert found is not None
        url = f"http://{found['spec']['clusterIP']}"

        def reached() -> bool:
            try:
                return httpx.get(f"{url}/v2/health/ready", timeout=5).is_success
            except httpx.TransportError:
                return False

        until(reached, f"{service} answers at {url}")
        return url

    def story(self, plural: str, name: str) -> str:
        """All that helps to understand an object: its description, its pods and what they printed."""
        selector = f"modelyard.dev/name={name}"
        pods = self.kubectl("describe", "pods", "-l", selector)
        logs = self.kubectl("logs", "-l", selector, "--tail", "40", "--ignore-errors")
        return "\n".join([self.kubectl("describe", plural, name), pods, logs])


@contextmanager
def place(client: httpx.Client, kubectl: Kubectl, name: str) -> Iterator[Place]:
    """A fresh namespace; at the end it goes with all that is in it, which nobody waits for."""
    with fresh_namespace(client, name, RESTRICTED) as namespace:
        yield Place(kubectl.of(namespace), Cluster(client, namespace), namespace)


def install(helm: Helm, images: Mapping[str, str]) -> None:
    """``helm install`` with these images, until the operator runs."""
    settings = [part for name, image in images.items() for part in _image(name, image)]
    helm.run(
        "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM, "--create-namespace",
        "--wait", "--timeout", "3m", *settings,
    )  # fmt: skip


def _image(name: str, image: str) -> Sequence[str]:
    repository, _, tag = image.rpartition(":")
    return "--set", f"images.{name}.repository={repository}", "--set-string", f"images.{name}.tag={tag}"


TRAIN = """
import torch
import modelyard_trainer

with modelyard_trainer.run() as run:
    model = torch.nn.Linear(4, 2)
    run.save(model, example_inputs=torch.zeros(2, 4), metrics={"loss": 0.5})
"""


def small_training(here: Place, name: str = "small", **spec: Any) -> None:
    """A TrainingJob that trains nothing, and publishes a linear layer."""
    if here.cluster.get("configmaps", "code") is None:
        sources(here.cluster)
        here.cluster.patch("configmaps", "code", {"data": {"train.py": TRAIN}})
    here.apply(
        {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {
                "code": {"configMap": {"name": "code"}},
                "entrypoint": {"script": "train.py"},
                "output": {"uri": "pvc://models/small"},
                **spec,
            },
        }
    )
