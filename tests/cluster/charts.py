"""What tests do with the Helm chart: render it, and install it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts/modelyard"


class Helm:
    """The helm program, with its configuration and cache in a folder of the test."""

    def __init__(self, program: Path, folder: Path, kubeconfig: Path | None = None) -> None:
        self.program = program
        self.environment: Mapping[str, str] = {
            **os.environ,
            **{f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")},
            "KUBECONFIG": str(kubeconfig or folder / "none"),
        }
        self._folder = folder

    def of(self, kubeconfig: Path) -> "Helm":
        """The same for a cluster."""
        return Helm(self.program, self._folder, kubeconfig)

    def run(self, *arguments: str) -> str:
        """What it prints. Fails with what it complained of."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """How it ended."""
        return subprocess.run(
            [self.program, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def template(self, namespace: str, *values: str, chart: Path = CHART, hooks: bool = True) -> list[dict[str, Any]]:
        """All rendered objects, the hooks of ``helm test`` too; each of ``values`` is a ``--set-json``."""
        settings = [part for value in values for part in ("--set-json", value)]
        arguments = [*settings, *([] if hooks else ["--no-hooks"])]
        text = self.run("template", "modelyard", str(chart), "--namespace", namespace, *arguments)
        return [each for each in yaml.safe_load_all(text) if each]


def pick(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    return [each for each in objects if each["kind"] == kind]
