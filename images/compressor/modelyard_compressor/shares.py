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


def await_others(share: Share, ledger: Ledger, seen: Callable[[], None], take: Callable[[Share], None]) -> None:
    """Return when the parts of all other pods are through; ``seen`` is called at each look. Raises StorageError.

    A part whose pod has not begun after a minute, as where no node takes it, is given to ``take``. A pod that is lost
    is replaced by its Job. A Job that fails ends this pod.
    """
    began = time.monotonic()
    waiting = [index for index in range(share.pods) if index != share.index]
    LOG.info("waits for the trials of %d other pods", len(waiting))
    while waiting := [index for index in waiting if not ledger.is_through(index)]:
        seen()
        absent = next((index for index in waiting if not ledger.is_there(index)), None)
        if absent is not None and time.monotonic() - began >= _PATIENCE_SECONDS:
            LOG.info("pod %d has not begun: its trials are built here", absent)
            take(Share(absent, share.pods))
            waiting.remove(absent)
        else:
            time.sleep(_POLL_SECONDS)
