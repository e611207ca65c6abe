"""What a laptop cannot do is said, with the remedy."""

import pytest

from modelyard.api.pods import Container, PodSpec, Resources
from modelyard.clusters.process.machine import Machine, unfit

LAPTOP = Machine(labels={"kubernetes.io/arch": "amd64"}, cores=4, gpus=0)


def pod(node_selector: dict[str, str] | None = None, **resources: dict[str, str]) -> PodSpec:
    container = Container(name="c", image="i", resources=Resources(**resources))
    return PodSpec(containers=[container], node_selector=node_selector or {})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (pod(limits={"nvidia.com/gpu": "2"}), ["2 nvidia.com/gpu asked for, this machine has 0", "spec.accelerator"]),
        (pod({"zone": "a"}), ["no label zone=a"]),
        (pod(requests={"cpu": "8"}), ["8 cores asked for, this machine has 4"]),
    ],
)
def test_a_pod_that_does_not_fit_is_told_why(spec: PodSpec, words: list[str]) -> None:
    why = unfit(spec, LAPTOP)
    assert why is not None
    assert all(word in why for word in words)


@pytest.mark.parametrize(
    "spec",
    [pod(), pod({"kubernetes.io/arch": "amd64"}), pod(limits={"cpu": "8", "memory": "1Ti"}, requests={"cpu": "4"})],
)
def test_a_pod_that_fits_is_not(spec: PodSpec) -> None:
    assert unfit(spec, LAPTOP) is None


def test_a_gpu_that_is_there_is_enough() -> None:
    assert unfit(pod(limits={"nvidia.com/gpu": "1"}), Machine(labels={}, cores=1, gpus=1)) is None
