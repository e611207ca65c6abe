"""The ranks of this pod: started through torchrun's elastic agent, and what became of them."""

import logging
import os
import signal

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
)

from modelyard_trainer import errors, lifetime, output
from modelyard_trainer.agent import Agent, Limits
from modelyard_trainer.rendezvous import Rendezvous
from modelyard_trainer.worker import Script, work
from modelyard_trainer.workspace import Workspace


def run_ranks(script: Script, rendezvous: Rendezvous, limits: Limits, space: Workspace) -> frozenset[int]:
    """Run this pod's ranks to their end, restarts in place included, and return their global numbers.

    Raises RankFailedError, RendezvousTimeoutError, RendezvousFailedError or PeerLostError (of this package), and
    TerminatedError, when no rank is left.
    """
    # The agent describes every failure at length, and each failure is told once, by the launcher.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGHUP"
    # Otherwise ranks that start again read the addresses of the dead ones from the agent's store.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with output.relayed(rendezvous.procs_per_node) as streams:
        try:
            try:
                agent = Agent(rendezvous, limits, space, script.code, work, (script, streams, space))
                return _run(agent, space)
            finally:
                lifetime.raise_on_death_signals()  # the agent has put its own handlers in their place
        except SignalException as error:
            raise lifetime.TerminatedError(error.sigval) from error
        except (RendezvousError, DistError) as error:
            raise _of_rendezvous(error, rendezvous) from error


def _run(agent: Agent, space: Workspace) -> frozenset[int]:
    try:
        result = agent.run()
    except (SignalException, lifetime.LeftError):
        raise  # others may go on: the rendezvous stays open
    except BaseException:
        agent.leave_quietly()
        raise
    agent.leave_quietly()
    if agent.stopping and (result.is_failed() or space.stopped.exists()):
        raise lifetime.TerminatedError(signal.SIGTERM)
    if not result.is_failed():
        return frozenset(result.return_values)
    assert agent.cause is not None, "failed ranks have a cause"
    cause = agent.cause
    raise errors.RankFailedError(cause.reason, cause.rank, cause.message, cause.exit_code)


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
