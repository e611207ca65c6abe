"""What a training script may use of Modelyard: ``with modelyard_trainer.run() as run``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsFloat

import torch

from modelyard.contract import layout
from modelyard.contract.reports import CheckpointReport, ProgressReport
from modelyard.contract.runs import TrainRun
from modelyard.storage.errors import StorageError
from modelyard.storage.local import LocalFolder
from modelyard.storage.store import open_store
from modelyard_trainer import group, inputs, shards, verdict, workspace
from modelyard_trainer.checkpoint import Checkpoints
from modelyard_trainer.console import say
from modelyard_trainer.datasets import Samples
from modelyard_trainer.errors import PeerLostError, StoppedError
from modelyard_trainer.group import Group
from modelyard_trainer.progress import Progress
from modelyard_trainer.pulse import Pulse
from modelyard_trainer.saver import Saver, Snapshot
from modelyard_trainer.shards import Part, ShardEntry
from modelyard_trainer.workspace import Workspace

OUTPUT_FOLDER = "modelyard-output"
"""Where a script that runs without Modelyard leaves its checkpoints and its model, in the current folder."""

_LAST_CHECKPOINT_SECONDS = 5.0
"""For a checkpoint that is being written when the script fails."""


class Run:
    """One rank of a training. Every method may be called on every rank; rank 0 does what is done once."""

    def __init__(
        self,
        members: Group,
        work: Workspace,
        checkpoints: Checkpoints | None,
        progress: Progress,
        saver: Saver | None,
        pulse: Pulse | None = None,
        *,
        resumes: bool,
    ) -> None:
        self._group = members
        self._work = work
        self._checkpoints = checkpoints
        self._progress = progress
        self._pulse = pulse
        self._resumes = resumes
        self._hinted = False
        self._saver = saver

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

    @property
    def stopping(self) -> bool:
        """Whether the job is to end now, since it is suspended or its node is drained: then call ``checkpoint``.

        True from the same ``report`` on for all ranks that call that equally often.
        """
        return self._pulse is not None and self._pulse.stopping

    def input(self, name: str) -> Path:
        """The file or folder of that entry of ``spec.inputs``, fetched and verified. Raises ValueError for no such."""
        return inputs.path_of(name)

    def report(self, *, step: int, total_steps: int | None = None, **metrics: SupportsFloat) -> None:
        """Tell how far the training is: ``step`` of ``total_steps`` are done, in any unit that the script counts in.

        Written at most five times a second, the last one always, and printed every few seconds. Other ranks only show
        that they are alive, if they call it.
        """
        if self._pulse is not None:
            self._pulse.beat()
        if self.is_main:
            detached = {
                name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()
            }
            self._progress.report(step, total_steps, detached)

    def resume(self, **into: object) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint of this job, tensors on ``device``, its step as ``step``.

        Rank 0 chooses for all ranks: a damaged checkpoint is skipped with a printed line. None where there is none, or
        where the job says ``resume: Never``. ``into`` is for a sharded state: what ``checkpoint`` is given under the
        same names, sharded as it is now, over any number of ranks; each rank reads its part into it. Without, a sharded
        state comes whole. Raises StorageError where this pod does not see what rank 0 saw, and ValueError for another
        shape.
        """
        chosen = None
        if self._checkpoints is not None and self._resumes:
            text = self._group.from_rank_zero("resume", self._start)
            chosen = CheckpointReport.model_validate_json(text) if text else None
        if self._checkpoints is None or chosen is None:
            if self.is_main:
                self._progress.resumed(0)
            return None
        state, commit = self._checkpoints.load(chosen, self.device, into)
        if self.is_main:
            say(f"modelyard: resuming after step {chosen.step}")
            self._progress.resumed(chosen.step, commit.best)
        return state

    def checkpoint(self, *, step: int, **state: object) -> None:
        """Commit ``state`` after ``step`` steps: state_dicts, tensors, numbers, strings, lists and dicts of them.

        Rank 0 copies the state and the others go on at once; a thread of rank 0 writes the copy, and no barrier is
        needed, since a checkpoint counts only once it is whole. The newest few and the best are kept. Storage that is
        gone is told, and the next checkpoint tried. Where ``stopping`` is true the script ends here, once all is
        written. Raises, at this or the next call, ValueError for a state that could not be loaded again, and
        StorageError (StorageFull).

        A state with DTensors, as FSDP2 and tensor parallelism have, is sharded: all ranks must call this, and each
        writes what it holds, once the checkpoint before is whole.
        """
        if self.is_main and self._saver is None and not self._hinted:
            say("modelyard: run.checkpoint does nothing, as the job has no spec.checkpoint")
            self._hinted = True
        sharded = shards.sharded(state)
        if self._saver is not None and (sharded or self.is_main):
            if sharded:
                self._saver.wait()  # all ranks must write the same ones
            kept = shards.split(state) if sharded else shards.copied(state)
            self._saver.save(Snapshot(step, kept, self._progress.objective(), self._progress.best))
        if self.stopping:
            if self._saver is not None:
                self._saver.wait()
            raise StoppedError

    def _start(self) -> str:
        found = self._checkpoints.start() if self._checkpoints is not None else None
        return "" if found is None else found.to_json()

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
        if self._pulse is not None:
            self._pulse.pause()
        if self._saver is not None:
            self._saver.wait()

        def work() -> str:
            # onnxruntime starts a thread when imported, which the fork server must not have.
            from modelyard_trainer.save import save  # noqa: PLC0415

            self._progress.stage("Exporting")
            save(self._work, model, example_inputs, evaluation, calibration, metrics or {}, input_names, output_names)
            return ""

        self._group.from_rank_zero("save", work)
        if self._pulse is not None:
            self._pulse.go_on()


@contextmanager
def run() -> Iterator[Run]:
    """Join the other ranks and read what the job asks for. Use it once, around the whole training.

    Under Modelyard or torchrun it makes the process group and destroys it at a clean end. Started by plain ``python``
    it is a world of one, which keeps checkpoints and model in ``./modelyard-output``.
    """
    job = TrainRun.model_validate_json(layout.run_file().read_bytes()) if layout.run_file().is_file() else None
    with group.joined("Auto" if job is None else job.backend) as members:
        progress = Progress(
            _no_report if job is None else ProgressReport.write,
            earlier=None if job is None or members.rank != 0 else verdict.progress(workspace.of_pod()),
            objective=None if job is None else job.objective,
            world_size=members.world_size,
        )
        if job is None:
            checkpoints: Checkpoints | None = _outside(members)
            work, pulse = Workspace(Path.cwd() / OUTPUT_FOLDER), None
        else:
            checkpoints, work = _checkpoints(job), workspace.of_pod()
            page = work.pulse(members.local_rank)
            pulse = Pulse(page) if page.is_file() else None
        saver = None if checkpoints is None else _saver(members, checkpoints, progress, pulse)
        try:
            yield Run(members, work, checkpoints, progress, saver, pulse, resumes=job is None or _resumes(job))
            if saver is not None:
                saver.wait()
        except BaseException:
            if saver is not None:
                saver.drop(_LAST_CHECKPOINT_SECONDS)
            raise
        finally:
            progress.close()


def _saver(members: Group, checkpoints: Checkpoints, progress: Progress, pulse: Pulse | None) -> Saver:
    def commit(snapshot: Snapshot) -> CheckpointReport | None:
        part = snapshot.state
        if not isinstance(part, Part):
            return checkpoints.commit(snapshot.step, part, snapshot.metric, snapshot.best)

        def write() -> str:
            return checkpoints.write_part(snapshot.step, part, members.rank).to_json()

        def finish(told: list[str]) -> str:
            entries = [ShardEntry.model_validate_json(text) for text in told]
            return checkpoints.commit_parts(
                snapshot.step, part.frame, entries, snapshot.metric, snapshot.best
            ).to_json()

        try:
            text = members.together("checkpoint", write, finish)
        except PeerLostError as error:
            raise StorageError("CheckpointFailed", str(error)) from error
        return CheckpointReport.model_validate_json(text) if members.rank == 0 else None

    def failed(message: str) -> None:
        if members.rank == 0:
            progress.not_stored(message)

    def busy(saving: bool) -> None:  # noqa: FBT001 - a callback's only argument
        if pulse is not None:
            pulse.saving = saving

    return Saver(commit, progress.committed, failed, busy)


def _outside(members: Group) -> Checkpoints:
    folder = Path.cwd() / OUTPUT_FOLDER
    if members.rank == 0:
        say(f"modelyard: not started by Modelyard; checkpoints and model go to {folder}")
    return Checkpoints(
        store=LocalFolder(f"file://{folder}/checkpoints", folder / "checkpoints"),
        job_uid="local",
        attempt=1,
        keep_latest=2,
    )


def _checkpoints(job: TrainRun) -> Checkpoints | None:
    if job.checkpoint is None:
        return None
    other = job.checkpoint.resume_from
    return Checkpoints(
        store=open_store(job.checkpoint.uri, job.checkpoint.secret),
        job_uid=job.identity.uid,
        attempt=job.identity.attempt,
        keep_latest=job.checkpoint.keep_latest,
        keep_best=job.checkpoint.keep_best,
        objective=job.objective,
        elsewhere=None if other is None else (open_store(other.uri, other.secret), other.digest),
    )


def _resumes(job: TrainRun) -> bool:
    return job.checkpoint is not None and job.checkpoint.resume == "Auto"


def _no_report(_: ProgressReport) -> None:
    """Outside Modelyard nobody reads reports; lines are still printed."""
