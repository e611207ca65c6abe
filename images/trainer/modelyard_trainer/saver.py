"""Checkpoints that hold a step only for a copy of the state: a thread writes them, the newest first."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelyard.contract.reports import CheckpointReport
from modelyard.storage.errors import StorageError
from modelyard_trainer.console import say
from modelyard_trainer.shards import Part

_STORAGE_FULL = "StorageFull"


@dataclass(frozen=True)
class Snapshot:
    """What the training was at a step."""

    step: int
    state: Mapping[str, object] | Part
    """The whole, or what this rank holds of a sharded one."""
    metric: float | None
    best: float | None


class Saver:
    """Writes one snapshot at a time; one more waits, and a newer one takes its place.

    A checkpoint that cannot be stored is told and forgotten, since the next one may be; but a full disk, and a state
    that could not be loaded again, are raised in the training at the next call.
    """

    def __init__(
        self,
        commit: Callable[[Snapshot], CheckpointReport | None],
        committed: Callable[[CheckpointReport], None],
        failed: Callable[[str], None],
        busy: Callable[[bool], None],
    ) -> None:
        """The functions are called in the thread; ``busy`` around each ``commit``, which returns None for a part."""
        self._commit = commit
        self._committed = committed
        self._failed = failed
        self._busy = busy
        self._waiting: Snapshot | None = None
        self._working = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Have ``snapshot`` written soon. Raises the error of an earlier one that another try would only repeat."""
        with self._changed:
            self._raise_error()
            self._waiting = snapshot
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoint", daemon=True)
            self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Return once all is written, or after so many seconds. Raises what ``save`` raises."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._working, seconds)
            self._raise_error()

    def drop(self, seconds: float) -> None:
        """Forget the one that waits, and let the one that is written arrive, if it does so within ``seconds``."""
        with self._changed:
            self._waiting = None
            self._changed.wait_for(lambda: not self._working, seconds)

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while True:
            with self._changed:
                self._working = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting is not None)
                snapshot, self._waiting, self._working = self._waiting, None, True
            assert snapshot is not None, "waited for one"
            self._busy(True)  # noqa: FBT003 - a callback's only argument
            try:
                report = self._commit(snapshot)
                if report is not None:
                    self._committed(report)
            except StorageError as error:
                if error.reason == _STORAGE_FULL:
                    self._error = error
                else:
                    say(f"modelyard: the checkpoint of step {snapshot.step} is not stored: {error}; the next is tried")
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - raised in the training
                self._error = error
            finally:
                self._busy(False)  # noqa: FBT003
