"""How does this pod take part in the search? Alone; or it builds its share, and one goes on with what all built."""

import time
from collections.abc import Callable, Mapping

from modelyard.contract.runs import CompressRun
from modelyard_compressor.attempts import Attempts, attempt_all, require_one
from modelyard_compressor.ledger import Ledger
from modelyard_compressor.prepare import Prepared
from modelyard_compressor.shares import await_others, this_share
from modelyard_compressor.workbench import Workbench


def search(
    prepared: Prepared,
    run: CompressRun,
    workbenches: Mapping[str | None, Workbench],
    ledger: Ledger,
    announce: Callable[[int], None],
) -> Attempts | None:
    """What became of all trials; None where another pod goes on. ``announce`` hears how many are through.

    What no pod built, for want of time or of a node for it, or because the CPUs of the nodes differ, is built here.
    Raises StorageError, and CompressionError (AllTrialsInfeasible).
    """
    began = time.monotonic()
    share = this_share(run.search.parallelism)
    if share.pods > 1:
        mine = share.of(prepared.trials)
        ledger.there(share.index)
        attempt_all(mine, prepared, run, workbenches, ledger, began, announce)
        ledger.through(share.index)
        if not share.decides:
            return None
        await_others(share, ledger, lambda: announce(len(mine)))
    return require_one(attempt_all(prepared.trials, prepared, run, workbenches, ledger, began, announce))
