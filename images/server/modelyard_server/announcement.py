"""How the operator learns how a pod runs its model: one report at start, tried until it is taken."""

import logging
import threading
import time
from datetime import UTC, datetime

from modelyard.contract.forward import FAILURES, Operator, operator_of_this_pod, own_words
from modelyard.contract.reports import ProgressReport, Serving
from modelyard_server.session import CUDA, Model
from modelyard_server.tuning import Tuning

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0


def announce(model: Model, tuning: Tuning) -> None:
    """Write the report to this pod's progress file, and have a thread send it where the operator takes it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report = ProgressReport(stage="Serving", serving=serving(model.providers[0], tuning), time=now)
    try:
        report.write()
    except OSError as error:
        log.warning("no progress file: %s", error)
    operator = operator_of_this_pod()
    if operator is not None:
        threading.Thread(target=_deliver, args=(operator, report), name="announcement", daemon=True).start()


def serving(provider: str, tuning: Tuning) -> Serving:
    """The choice in the words of the contract. ``provider`` is ONNX Runtime's name of what runs the model."""
    one, most = (tuning.microseconds[rows] for rows in (min(tuning.microseconds), _measured(tuning)))
    return Serving(
        provider="Cuda" if provider == CUDA else "Cpu",
        mode=tuning.mode,
        instances=tuning.instances,
        threads=tuning.threads,
        max_batch=tuning.max_batch,
        run_microseconds=round(one),
        rows_per_second=round(tuning.instances * _measured(tuning) / (most * 1e-6)),
    )


def _measured(tuning: Tuning) -> int:
    """The rows of a run that was measured, as near to ``max_batch`` as there is one."""
    return min(tuning.microseconds, key=lambda rows: abs(rows - tuning.max_batch))


def _deliver(operator: Operator, report: ProgressReport) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            operator.send(own_words(report))
        except FAILURES as error:
            if pause >= _LONGEST_PAUSE_SECONDS:
                log.warning("the operator does not take a report at %s: %s", operator.url, error)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
        else:
            return
