"""Installing, uninstalling, and what stays when the operator is gone."""

from collections.abc import Iterator, Mapping

import httpx
import pytest

from charts import Helm
from installed import RELEASE, SYSTEM, Kubectl, Place, install, place, small_training
from waiting import until


@pytest.fixture
def here(client: httpx.Client, kubectl: Kubectl, modelyard: None) -> Iterator[Place]:
    with place(client, kubectl, "install") as here:
        yield here


def operator_is_gone(kubectl: Kubectl) -> bool:
    return kubectl.of(SYSTEM)("get", "pods", "-o", "name") == ""


def test_helm_test_passes(helm: Helm, modelyard: None) -> None:
    printed = helm.run("test", RELEASE, "--namespace", SYSTEM, "--timeout", "5m")
    assert "Succeeded" in printed


def test_uninstalled_nothing_is_lost_and_installed_again_nothing_is_done_twice(
    here: Place, helm: Helm, images: Mapping[str, str]
) -> None:
    small_training(here)
    here.wait("trainingjobs", "small", "Complete")
    before = here.cluster.get("trainingjobs", "small"), here.cluster.children()
    helm.run("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    until(lambda: operator_is_gone(here.kubectl), "the operator is gone", seconds=60)
    assert (here.cluster.get("trainingjobs", "small"), here.cluster.children()) == before
    install(helm, images)
    small_training(here, "other")
    here.wait("trainingjobs", "other", "Complete")
    after = {name: version for name, version in here.cluster.children().items() if "/other-" not in name}
    assert (here.cluster.get("trainingjobs", "small"), after) == before


def test_with_the_operator_gone_a_deleted_object_takes_all_with_it(
    here: Place, helm: Helm, images: Mapping[str, str]
) -> None:
    small_training(here)
    here.wait("trainingjobs", "small", "Complete")
    helm.run("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    try:
        here.kubectl("delete", "tjob", "small", "--wait=false")
        until(lambda: here.cluster.get("trainingjobs", "small") is None, "it is gone")
        until(lambda: here.cluster.children() == {}, "its children are gone", seconds=60)
    finally:
        install(helm, images)
