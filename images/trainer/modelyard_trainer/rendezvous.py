"""Where and how the pods of an attempt meet, from the PET_* variables that the operator sets."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard_trainer.console import say
from modelyard_trainer.errors import RendezvousInvalidError, RendezvousTimeoutError

_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 2.0
_DEFAULT_JOIN_TIMEOUT = "600"


@dataclass(frozen=True)
class Rendezvous:
    """A c10d rendezvous, hosted by node 0."""

    nodes: int
    """The pods that take part, at most."""
    min_nodes: int
    """The pods that are enough; as many as ``nodes`` unless the job is elastic."""
    procs_per_node: int
    node_rank: int
    backend: str
    host: str
    port: int
    id: str
    config: Mapping[str, str]
    """What PET_RDZV_CONF says, and ``is_host``: torch's guess by host name fails on Kubernetes names."""
    local_address: str | None
    """This pod's name for the others; torch asks the host name's domain when it is None."""

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_host(self) -> bool:
        return self.node_rank == 0

    @property
    def join_timeout(self) -> float:
        """Seconds until a pod gives up waiting for the others."""
        return float(self.config["join_timeout"])


def from_environment(environment: Mapping[str, str]) -> Rendezvous:
    """The rendezvous that the variables describe. Raises RendezvousInvalidError naming the variable."""
    node_rank = _integer(environment, "PET_NODE_RANK", "JOB_COMPLETION_INDEX")
    endpoint = _text(environment, "PET_RDZV_ENDPOINT")
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal():
        raise RendezvousInvalidError(f"PET_RDZV_ENDPOINT={endpoint} is not <host>:<port>")
    pairs = (pair.partition("=") for pair in environment.get("PET_RDZV_CONF", "").split(",") if pair)
    config = {"join_timeout": _DEFAULT_JOIN_TIMEOUT} | {name.strip(): value.strip() for name, _, value in pairs}
    min_nodes, nodes = _nodes(environment)
    return Rendezvous(
        nodes=nodes,
        min_nodes=min_nodes,
        procs_per_node=_integer(environment, "PET_NPROC_PER_NODE"),
        node_rank=node_rank,
        backend=environment.get("PET_RDZV_BACKEND", "c10d"),
        host=host,
        port=int(port),
        id=_text(environment, "PET_RDZV_ID"),
        config=config | {"is_host": "1" if node_rank == 0 else "0"},
        local_address=environment.get("PET_LOCAL_ADDR"),
    )


def wait_for_host(rendezvous: Rendezvous) -> None:
    """Return when node 0 listens; on node 0 at once.

    A headless Service may have no address of node 0 yet, and has it before that pod's image is even pulled, while torch
    gives up after its read timeout. Raises RendezvousTimeoutError after the join timeout.
    """
    if rendezvous.is_host:
        return
    deadline = time.monotonic() + rendezvous.join_timeout
    said = False
    while (why := obstacle(rendezvous.host, rendezvous.port)) is not None:
        if time.monotonic() > deadline:
            raise RendezvousTimeoutError(
                f"node {rendezvous.node_rank} did not reach the rendezvous at {rendezvous.endpoint} "
                f"within {rendezvous.join_timeout:g} s: {why}"
            )
        if not said:
            say(f"modelyard: node {rendezvous.node_rank} waits for the rendezvous at {rendezvous.endpoint}")
            said = True
        time.sleep(_POLL_SECONDS)


def obstacle(host: str, port: int) -> str | None:
    """Why nobody can be reached at that port now; None: somebody listens."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _text(environment: Mapping[str, str], *names: str) -> str:
    value = next((environment[name] for name in names if environment.get(name)), None)
    if value is None:
        raise RendezvousInvalidError(
            f"{' or '.join(names)} is not set; the operator sets it in every pod of an attempt"
        )
    return value


def _nodes(environment: Mapping[str, str]) -> tuple[int, int]:
    text = _text(environment, "PET_NNODES")
    least, _, most = text.partition(":")
    if not least.isdecimal() or not (most or least).isdecimal() or not 0 < int(least) <= int(most or least):
        raise RendezvousInvalidError(f"PET_NNODES={text} is neither a whole number nor <min>:<max>")
    return int(least), int(most or least)


def _integer(environment: Mapping[str, str], *names: str) -> int:
    text = _text(environment, *names)
    if not text.isdecimal():
        raise RendezvousInvalidError(f"{' or '.join(names)}={text} is not a whole number")
    return int(text)
