"""The ranks of this pod: started through torchrun's elastic agent, and what became of them."""

import logging
import os
from pathlib import Path

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from modelyard_trainer import errors, lifetime, outcome, output
from modelyard_trainer.outcome import RankFailure
from modelyard_trainer.rendezvous import Rendezvous
from modelyard_trainer.worker import Script, work

_STOP_SECONDS = 10
"""Between SIGTERM and SIGKILL for a rank. Below the 30 s that Kubernetes gives a pod."""


def run_ranks(script: Script, rendezvous: Rendezvous, failures: Path) -> frozenset[int]:
    """Run this pod's ranks to their end and return their global numbers.

    ``failures`` is an empty folder in which a rank that raises leaves its RankFailure. Raises RankFailedError,
    RendezvousTimeoutError, RendezvousFailedError or PeerLostError (of this package), and TerminatedError, when no
    rank is left.
    """
    # The agent describes every failure at length, and each failure is told once, by the launcher.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with output.relayed(rendezvous.procs_per_node) as streams:
        try:
            try:
                ended = elastic_launch(_config(rendezvous), work)(script, streams, failures)
            finally:
                lifetime.raise_on_death_signals()  # the agent has put its own handlers in their place
        except SignalException as error:
            raise lifetime.TerminatedError(error.sigval) from error
        except ChildFailedError as error:
            cause = _cause(error, failures)
            raise errors.RankFailedError(cause.reason, cause.rank, cause.message) from error
        except (RendezvousError, DistError) as error:
            raise _of_rendezvous(error, rendezvous) from error
    return frozenset(ended)


def _config(rendezvous: Rendezvous) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=rendezvous.nodes,
        max_nodes=rendezvous.nodes,
        nproc_per_node=rendezvous.procs_per_node,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        run_id=rendezvous.id,
        rdzv_backend=rendezvous.backend,
        rdzv_endpoint=rendezvous.endpoint,
        rdzv_configs=dict(rendezvous.config),
        local_addr=rendezvous.local_address,
        max_restarts=0,
        monitor_interval=0.1,
        start_method="forkserver",
        signals_to_handle="SIGTERM,SIGINT",
        shutdown_timeout=_STOP_SECONDS,
    )


def _of_rendezvous(error: RendezvousError | DistError, rendezvous: Rendezvous) -> errors.TrainingError:
    match error:
        case RendezvousTimeoutError():
            return errors.RendezvousTimeoutError(
                f"not all of the {rendezvous.nodes} nodes came to {rendezvous.endpoint} within "
                f"{rendezvous.join_timeout:g} s; see whether the other pods were scheduled"
            )
        case RendezvousConnectionError() if rendezvous.is_host:
            return errors.RendezvousFailedError(
                f"cannot host the rendezvous on port {rendezvous.port}: {error.__cause__ or error}"
            )
        case RendezvousClosedError():
            return errors.PeerLostError("the other pods of this attempt have already ended")
        case _:
            return errors.PeerLostError(
                f"another pod ended, and the rendezvous at {rendezvous.endpoint} with it: {error}"
            )


def _cause(error: ChildFailedError, folder: Path) -> RankFailure:
    told = [RankFailure.model_validate_json(path.read_bytes()) for path in folder.iterdir()]
    ranks = {failure.rank for failure in told}
    silent = [
        outcome.of_exit(rank, failure.exitcode, failure.timestamp)
        for rank, failure in error.failures.items()
        if rank not in ranks
    ]
    return outcome.root_cause([*told, *silent])
