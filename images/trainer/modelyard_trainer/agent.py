"""Torchrun's agent for the ranks of this pod, with our answer to the question whether they start again in place."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.rendezvous import (
    RendezvousError,
    RendezvousParameters,
    RendezvousTimeoutError,
    dynamic_rendezvous,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from modelyard_trainer import lifetime, outcome, verdict, workspace
from modelyard_trainer.conductor import Conductor
from modelyard_trainer.errors import PEER_LOST, PeerLostError
from modelyard_trainer.gang import Gang
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.rendezvous import Rendezvous
from modelyard_trainer.workspace import Workspace

_REJOIN = timedelta(seconds=20)
"""So long the pods of a gang wait for each other once they have met: they are all there, or one of them is lost."""
_KEEP_ALIVE_SECONDS = 1
_MONITOR_SECONDS = 0.05
_STOP_SECONDS = 2
"""Between SIGTERM and SIGKILL for a rank: by then it has had the time to save, or has nothing more to say."""
_POLL_SECONDS = 0.05
_COUNTED = "modelyard/counted"
"""In the store of one generation of ranks: who is first to add to it counts the failure for all."""


@dataclass(frozen=True)
class Limits:
    """What the job allows."""

    process_restarts: int
    fork_server: bool
    grace_seconds: int
    """Between SIGTERM and SIGKILL for the pod."""
    stall_seconds: int | None
    """So long a rank may be silent once it has reported."""


class Patience(RendezvousTimeout):
    """Torch's timeouts, with a long one for the first meeting of the pods and a short one for those that follow."""

    met = False

    @property
    def join(self) -> timedelta:
        return min(_REJOIN, super().join) if self.met else super().join


class Agent(LocalElasticAgent):
    """Restarts in place are counted for the gang, not for each pod, and only for failures that may not come again."""

    cause: RankFailure | None = None
    """Why the ranks were given up, if they were."""

    def __init__(
        self,
        meeting: Rendezvous,
        limits: Limits,
        work: Workspace,
        code: Path,
        entrypoint: Callable[..., None],
        args: tuple[object, ...],
    ) -> None:
        """Connect to the rendezvous. Raises RendezvousError."""
        parameters = RendezvousParameters(
            backend=meeting.backend,
            endpoint=meeting.endpoint,
            run_id=meeting.id,
            min_nodes=meeting.min_nodes,
            max_nodes=meeting.nodes,
            local_addr=meeting.local_address,
            **meeting.config,
        )
        backend, store = create_backend(parameters)
        self._patience = Patience(*(_seconds(parameters, name) for name in ("join", "last_call", "close", "heartbeat")))
        self._rendezvous_handler = DynamicRendezvousHandler.from_backend(
            meeting.id,
            store,
            backend,
            meeting.min_nodes,
            meeting.nodes,
            meeting.local_address,
            self._patience,
            keep_alive_interval=parameters.get_as_int("keep_alive_interval") or _KEEP_ALIVE_SECONDS,
        )
        _look_often(self._rendezvous_handler)
        spec = WorkerSpec(
            role="trainer",
            local_world_size=meeting.procs_per_node,
            entrypoint=entrypoint,
            args=args,
            rdzv_handler=self._rendezvous_handler,
            max_restarts=limits.process_restarts,
            monitor_interval=_MONITOR_SECONDS,
            local_addr=meeting.local_address,
        )
        super().__init__(
            spec,
            DefaultLogsSpecs(log_dir=os.devnull),
            start_method="forkserver" if limits.fork_server else "spawn",
            shutdown_timeout=_STOP_SECONDS,
        )
        self._gang = Gang.of(store, meeting.id)
        leaves = meeting.min_nodes < meeting.nodes and not meeting.is_host
        self._conductor = Conductor(self._gang, work, code, limits.grace_seconds, limits.stall_seconds, leaves)
        self._limits = limits
        self._work = work

    def leave_quietly(self) -> None:
        """Close the rendezvous for all, as far as it is still there: this attempt is over."""
        with suppress(RendezvousError, DistError):
            self._rendezvous_handler.shutdown()

    @property
    def stopping(self) -> bool:
        """Whether this attempt was asked to end, here or in another pod."""
        return self._conductor.stopping

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        self._conductor.before_restart()
        super()._stop_workers(worker_group)

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        lifetime.raise_on_death_signals()
        try:
            super()._rendezvous(worker_group)
        except RendezvousTimeoutError as error:
            if not self._patience.met:
                raise
            raise PeerLostError(f"a pod that was there did not come back within {_REJOIN.seconds} s") from error
        lifetime.note_death_signals()

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        assert worker_group.store is not None, "the ranks have met"
        self._gang.generation = worker_group.store
        self._gang.world_size = worker_group.workers[0].world_size
        self._conductor.before_start([worker.global_rank for worker in worker_group.workers])
        self._patience.met = True
        workspace.empty_folder(self._work.failures)
        incident = self._gang.last_incident()
        if worker_group.group_rank == 0:
            verdict.begin(self._work, self._gang.world_size, None if incident is None else incident.in_place)
        pids: dict[int, Any] = super()._start_workers(worker_group)
        return pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if worker_group.group_rank == 0:
            self._gang.checkpointed(verdict.newest_checkpoint(self._work))
        deadline = self._conductor.stop_deadline
        if deadline is not None:
            # Pods that were killed do not come to the end, where torch would wait for them.
            self._exit_barrier_timeout = max(1.0, deadline - time.monotonic())
        if result.state == WorkerState.FAILED:
            self._decide(worker_group, result)
        elif result.state == WorkerState.HEALTHY:
            return self._look(worker_group)
        return result

    def _look(self, worker_group: WorkerGroup) -> RunResult:
        assert self._pcontext is not None, "the ranks have started"
        stalled = self._conductor.look(self._pcontext.pids(), decides=worker_group.group_rank == 0)
        if stalled is None:
            return RunResult(state=WorkerState.HEALTHY)
        self.cause = RankFailure(rank=stalled.rank, time=time.time(), reason="Stalled", message=stalled.message)
        self._remaining_restarts = 0
        return RunResult(state=WorkerState.FAILED)

    def _decide(self, worker_group: WorkerGroup, result: RunResult) -> None:
        """Set what ``SimpleElasticAgent`` looks at next: whether a restart is left."""
        self.cause = _cause(result, self._work.failures)
        if self.stopping:
            self._remaining_restarts = 0
            return
        left = self._gang.restarts_left(self._limits.process_restarts)
        assert worker_group.store is not None, "ranks that ran have met"
        if self.cause.reason == PEER_LOST or worker_group.store.add(_COUNTED, 1) > 1:
            # Another pod has the cause: it counts it, and closes the rendezvous if it was the last.
            again = self._limits.process_restarts > 0 or self._elastic
        else:
            again = self._gang.restart(self.cause, self._limits.process_restarts)
            left -= 1
        # One more, since it is taken away before the ranks start; the environment tells them the number.
        self._remaining_restarts = max(0, left) + 1 if again else 0

    @property
    def _elastic(self) -> bool:
        settings = self._rendezvous_handler.settings
        return bool(settings.min_nodes < settings.max_nodes)


def _look_often(handler: DynamicRendezvousHandler) -> None:
    """Have pods that wait for others look twenty times a second, and see what is there.

    Torch looks once a second, and keeps what it saw for a second, which it offers no setting for. A meeting takes two
    such looks: most of the time that a restart in place would take.
    """
    vars(dynamic_rendezvous)["_delay"] = lambda **_: time.sleep(_POLL_SECONDS)
    vars(handler._state_holder)["_cache_duration"] = 0  # noqa: SLF001


def _cause(result: RunResult, folder: Path) -> RankFailure:
    told = [RankFailure.model_validate_json(path.read_bytes()) for path in folder.glob("*.json")]
    ranks = {failure.rank for failure in told}
    silent = [
        outcome.of_exit(rank, failure.exitcode, time.time())
        for rank, failure in result.failures.items()
        if rank not in ranks
    ]
    return outcome.root_cause([*told, *silent])


def _seconds(parameters: RendezvousParameters, name: str) -> timedelta | None:
    value = parameters.get_as_int(f"{name}_timeout" if name != "heartbeat" else name)
    return None if value is None else timedelta(seconds=value)
