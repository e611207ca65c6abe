"""Which trials are this pod's where several search at once, and when are all of them built?"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from modelyard.contract import layout
from modelyard_compressor.ledger import Ledger
from modelyard_compressor.trials import Trial

LOG = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Share:
    """One of ``pods`` parts of the trials."""

    index: int
    pods: int

    @property
    def decides(self) -> bool:
        """Whether this pod measures, decides and publishes once all trials are built."""
        return self.index == 0

    def of(self, trials: list[Trial]) -> list[Trial]:
        """Every nth trial of n pods: a pod that is replaced finds its own again."""
        return trials[self.index :: self.pods]


def this_share(pods: int) -> Share:
    """The part of this pod, one of so many. Its index is what the Job gave it."""
    return Share(int(os.environ.get(layout.INDEX_VARIABLE, "0")) if pods > 1 else 0, pods)


def await_others(share: Share, ledger: Ledger, seen: Callable[[], None]) -> None:
    """Return when all other pods are through their parts; ``seen`` is called at each look. Raises StorageError.

    One that has not begun after a minute, as where no node takes it, is not waited for. One that is lost is replaced by
    its Job. A Job that fails ends this pod.
    """
    patient_until = time.monotonic() + _PATIENCE_SECONDS
    waiting = [index for index in range(share.pods) if index != share.index]
    LOG.info("waits for the trials of %d other pods", len(waiting))
    while waiting := [index for index in waiting if not ledger.is_through(index)]:
        seen()
        if time.monotonic() >= patient_until and not any(map(ledger.is_there, waiting)):
            LOG.info("%d pods have not begun: their trials are built here", len(waiting))
            return
        time.sleep(_POLL_SECONDS)
