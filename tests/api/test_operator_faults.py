"""Operators and the API server in trouble: takeover, outages, signals, and what an operator costs."""

import signal
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from control_plane import ControlPlane
from operators import Cluster, Operator, sources, training, two_pods
from waiting import until

Start = Callable[[str], Operator]


@pytest.fixture
def start(cluster: Cluster, api_server: ControlPlane, tmp_path: Path) -> Iterator[Start]:
    """Starts an operator of this name, of which one at a time works."""
    started = []

    def start(identity: str) -> Operator:
        operator = Operator(api_server.kubeconfig, cluster.namespace, tmp_path, identity)
        operator.start()
        started.append(operator)
        return operator

    yield start
    for operator in started:
        operator.stop(signal.SIGKILL)


def leads(cluster: Cluster, identity: str) -> bool:
    lease = cluster.get("leases", "modelyard")
    return lease is not None and lease["spec"]["holderIdentity"] == identity


def test_a_second_operator_takes_over_within_twenty_seconds(cluster: Cluster, start: Start) -> None:
    sources(cluster)
    first = start("first")
    until(lambda: leads(cluster, "first"), "the first leads")
    second = start("second")
    until(lambda: "second: waits for first" in second.log(), "the second waits")
    assert (first.metrics()["modelyard_leader"], second.metrics()["modelyard_leader"]) == (1, 0)
    first.stop(signal.SIGKILL)
    killed = time.monotonic()
    training(cluster)
    until(lambda: len(cluster.pods("digits-train-1")) == 2, "the second works", seconds=20)
    assert second.metrics()["modelyard_leader"] == 1
    assert (leads(cluster, "second"), time.monotonic() - killed < 20) == (True, True)


def test_an_operator_is_healthy_while_it_works_and_while_it_waits(cluster: Cluster, start: Start) -> None:
    leader = start("leader")
    until(lambda: leads(cluster, "leader"), "it leads")
    follower = start("follower")
    until(lambda: "follower: waits for leader" in follower.log(), "it waits")
    answers = [httpx.get(f"http://127.0.0.1:{each.port}/healthz").status_code for each in (leader, follower)]
    assert answers == [HTTPStatus.OK, HTTPStatus.OK]


def test_a_told_leader_and_a_told_follower_end_at_once_and_the_lease_is_free(cluster: Cluster, start: Start) -> None:
    leader = start("leader")
    until(lambda: leads(cluster, "leader"), "it leads")
    follower = start("follower")
    until(lambda: "follower: waits for leader" in follower.log(), "it waits")
    began = time.monotonic()
    assert (follower.stop(), leader.stop()) == (0, 0), leader.log()
    assert time.monotonic() - began < 5
    assert leads(cluster, "")


def test_a_leader_whose_lease_is_taken_ends_with_one_line(cluster: Cluster, start: Start) -> None:
    leader = start("leader")
    until(lambda: leads(cluster, "leader"), "it leads")
    cluster.patch("leases", "modelyard", {"spec": {"holderIdentity": "other"}})
    until(lambda: not leader.running(), "it ends", seconds=15)
    assert (leader.stop(), leader.log().splitlines()[-1]) == (1, "error: leader lost its lease to other")
    assert leads(cluster, "other")


def test_a_leader_that_cannot_renew_ends_with_one_line(
    cluster: Cluster, start: Start, api_server: ControlPlane
) -> None:
    leader = start("leader")
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")  # it leads, and has read all that it reads at its start
    api_server.stop_api_server()
    try:
        until(lambda: not leader.running(), "it ends", seconds=20)
    finally:
        api_server.start_api_server()
    last = leader.log().splitlines()[-1]
    assert (leader.stop(), last[:41]) == (1, "error: leader could not renew its lease: ")
    assert "Traceback" not in leader.log()


def test_an_api_server_that_is_away_for_ninety_seconds_is_caught_up_with(
    cluster: Cluster, operator: Operator, api_server: ControlPlane
) -> None:
    sources(cluster)
    training(cluster)
    two_pods(cluster, "digits-train-1")
    before = cluster.children()
    said = len(operator.log())
    api_server.stop_api_server()
    time.sleep(90)  # the outage itself: kopf's own patience ends after 54 s
    api_server.start_api_server()
    cluster.delete("services", "digits-train")
    until(lambda: cluster.get("services", "digits-train") is not None, "the Service is back", seconds=60)
    after = cluster.children()
    del before["services/digits-train"], after["services/digits-train"]
    assert after == before
    assert operator.running()
    of_outage = [
        line.split(maxsplit=3)[3]
        for line in operator.log()[said:].splitlines()
        if " WARNING " in line or " ERROR " in line
    ]
    assert [line.partition(":")[0].partition(",")[0] for line in of_outage] == [
        "the API server is away",
        "the API server is back",
    ]
