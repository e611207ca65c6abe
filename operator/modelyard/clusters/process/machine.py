"""What this machine has, and whether a pod can run on it."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from modelyard.api.pods import PodSpec
from modelyard.api.quantities import parse_quantity

_ALWAYS = ("cpu", "memory", "ephemeral-storage")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Machine:
    """The one node of a process cluster."""

    labels: dict[str, str]
    cores: int
    gpus: int
    """NVIDIA GPUs."""


def this_machine() -> Machine:
    """What this machine has."""
    gpus = Path("/proc/driver/nvidia/gpus")
    return Machine(
        labels={
            "kubernetes.io/os": platform.system().lower(),
            "kubernetes.io/arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "kubernetes.io/hostname": platform.node(),
        },
        cores=os.cpu_count() or 1,
        gpus=len(list(gpus.iterdir())) if gpus.is_dir() else 0,
    )


def unfit(pod: PodSpec, machine: Machine) -> str | None:
    """Why the pod cannot run on the machine, with the remedy, or None when it can."""
    for key, value in pod.node_selector.items():
        if machine.labels.get(key) != value:
            return f"this machine has no label {key}={value}; remove it from the node selector or use a cluster"
    for container in pod.containers:
        wanted = {**container.resources.limits, **container.resources.requests}
        for resource, amount in wanted.items():
            have = machine.gpus if resource == "nvidia.com/gpu" else 0
            if resource not in _ALWAYS and parse_quantity(amount) > have:
                return (
                    f"{amount} {resource} asked for, this machine has {have}; remove spec.accelerator or use a cluster"
                )
        cores = container.resources.requests.get("cpu")
        if cores is not None and parse_quantity(cores) > machine.cores:
            return f"{cores} cores asked for, this machine has {machine.cores}; lower resources.requests.cpu"
    return None
