"""What a training script may use of Modelyard: ``with modelyard_trainer.run() as run``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsFloat

import torch

from modelyard.contract import layout
from modelyard.contract.reports import ProgressReport
from modelyard.contract.runs import TrainRun
from modelyard.storage.local import LocalFolder
from modelyard.storage.store import open_store
from modelyard_trainer import group, workspace
from modelyard_trainer.checkpoint import Checkpoints
from modelyard_trainer.console import say
from modelyard_trainer.datasets import Samples
from modelyard_trainer.group import Group
from modelyard_trainer.progress import Progress
from modelyard_trainer.workspace import Workspace

OUTPUT_FOLDER = "modelyard-output"
"""Where a script that runs without Modelyard leaves its checkpoints and its model, in the current folder."""


class Run:
    """One rank of a training. Every method may be called on every rank; rank 0 does the writing."""

    def __init__(
        self, members: Group, work: Workspace, checkpoints: Checkpoints | None, progress: Progress, *, resumes: bool
    ) -> None:
        self._group = members
        self._work = work
        self._checkpoints = checkpoints
        self._progress = progress
        self._resumes = resumes
        self._hinted = False

    @property
    def rank(self) -> int:
        """The global rank, from 0."""
        return self._group.rank

    @property
    def local_rank(self) -> int:
        """The rank among those of this pod."""
        return self._group.local_rank

    @property
    def world_size(self) -> int:
        """The number of ranks of all pods."""
        return self._group.world_size

    @property
    def device(self) -> torch.device:
        """Where this rank's model and batches belong: a GPU of its own, or the CPU."""
        return self._group.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def report(self, *, step: int, total_steps: int | None = None, **metrics: SupportsFloat) -> None:
        """Tell how far the training is: ``step`` of ``total_steps`` are done, in any unit that the script counts in.

        Written at most five times a second, the last one always, and printed every few seconds. Does nothing on other
        ranks than 0.
        """
        if self.is_main:
            detached = {
                name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()
            }
            self._progress.report(step, total_steps, detached)

    def resume(self) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint of this job, tensors on ``device``, its step as ``step``.

        Rank 0 chooses for all ranks: a damaged checkpoint is skipped with a printed line. None where there is none, or
        where the job says ``resume: Never``. Raises StorageError where this pod does not see what rank 0 saw.
        """
        if self._checkpoints is None or not self._resumes:
            return None
        chosen = self._group.from_rank_zero("resume", self._newest_step)
        if not chosen:
            return None
        if self.is_main:
            say(f"modelyard: resuming after step {chosen}")
        return self._checkpoints.load(int(chosen), self.device)

    def checkpoint(self, *, step: int, **state: object) -> None:
        """Commit ``state`` after ``step`` steps: state_dicts, tensors, numbers, strings, lists and dicts of them.

        Rank 0 writes and the others go on at once; no barrier is needed, since a checkpoint counts only once it is
        whole. The newest few are kept. Raises ValueError for a state that could not be loaded again, StorageError.
        """
        if not self.is_main:
            return
        if self._checkpoints is None:
            if not self._hinted:
                say("modelyard: run.checkpoint does nothing, as the job has no spec.checkpoint")
                self._hinted = True
            return
        self._progress.committed(self._checkpoints.commit(step, state))

    def save(
        self,
        model: torch.nn.Module,
        *,
        example_inputs: torch.Tensor | Sequence[torch.Tensor],
        evaluation: Sequence[Samples] | None = None,
        calibration: Samples | Sequence[Samples] | None = None,
        metrics: Mapping[str, float] | None = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        """Export ``model`` to ONNX, check it against the module, and leave it to be published when all ranks end.

        ``example_inputs`` are what ``forward`` takes, the batch first. ``evaluation`` is ``(inputs..., labels)`` that
        training never saw; ``calibration`` is inputs from the training data, for quantization. Input names default to
        the parameters of ``forward``, output names to ``output``. Rank 0 works, the others wait for it.

        Raises ExportError, ExportMismatchError, or ValueError for sets, names or metrics that do not fit, on rank 0;
        PeerLostError then on the others.
        """

        def work() -> str:
            # onnxruntime starts a thread when imported, which the fork server must not have.
            from modelyard_trainer.save import save  # noqa: PLC0415

            self._progress.stage("Exporting")
            save(self._work, model, example_inputs, evaluation, calibration, metrics or {}, input_names, output_names)
            return ""

        self._group.from_rank_zero("save", work)

    def _newest_step(self) -> str:
        newest = self._checkpoints.newest() if self._checkpoints is not None else None
        return "" if newest is None else str(newest.step)


@contextmanager
def run() -> Iterator[Run]:
    """Join the other ranks and read what the job asks for. Use it once, around the whole training.

    Under Modelyard or torchrun it makes the process group and destroys it at a clean end. Started by plain ``python``
    it is a world of one, which keeps checkpoints and model in ``./modelyard-output``.
    """
    job = TrainRun.model_validate_json(layout.run_file().read_bytes()) if layout.run_file().is_file() else None
    with group.joined("Auto" if job is None else job.backend) as members:
        progress = Progress(_no_report if job is None else ProgressReport.write)
        if job is None:
            session = _outside(members, progress)
        else:
            session = Run(members, workspace.of_pod(), _checkpoints(job), progress, resumes=_resumes(job))
        try:
            yield session
        finally:
            progress.close()


def _outside(members: Group, progress: Progress) -> Run:
    folder = Path.cwd() / OUTPUT_FOLDER
    if members.rank == 0:
        say(f"modelyard: not started by Modelyard; checkpoints and model go to {folder}")
    checkpoints = Checkpoints(
        store=LocalFolder(f"file://{folder}/checkpoints", folder / "checkpoints"),
        job_uid="local",
        attempt=1,
        keep_latest=2,
    )
    return Run(members, Workspace(folder), checkpoints, progress, resumes=True)


def _checkpoints(job: TrainRun) -> Checkpoints | None:
    if job.checkpoint is None:
        return None
    return Checkpoints(
        store=open_store(job.checkpoint.uri, job.checkpoint.secret),
        job_uid=job.identity.uid,
        attempt=job.identity.attempt,
        keep_latest=job.checkpoint.keep_latest,
    )


def _resumes(job: TrainRun) -> bool:
    return job.checkpoint is not None and job.checkpoint.resume == "Auto"


def _no_report(_: ProgressReport) -> None:
    """Outside Modelyard nobody reads reports; lines are still printed."""
