"""The folders of this pod's scratch space that the launcher and its ranks share."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract import layout


@dataclass(frozen=True)
class Workspace:
    """Paths under one folder: ``work`` in a pod, ``./modelyard-output`` for a script run without Modelyard."""

    root: Path

    @property
    def artifact(self) -> Path:
        """What ``run.save`` fills: the files of the artefact without its manifest."""
        return self.root / "artifact"

    @property
    def saved(self) -> Path:
        """What ``run.save`` says of those files, written after them."""
        return self.root / "saved.json"

    def variant(self, name: str) -> "Workspace":
        """Where one model of several is kept, as ``artifact`` and ``saved`` of its own."""
        return Workspace(self.root / "variants" / name)

    def keep(self, name: str) -> None:
        """Keep what ``run.save`` left as that variant, so that it may save another. Raises OSError."""
        variant = self.variant(name)
        empty_folder(variant.root)
        self.artifact.rename(variant.artifact)
        self.saved.rename(variant.saved)

    @property
    def failures(self) -> Path:
        """One file for each rank that failed."""
        return self.root / "failures"

    @property
    def inputs(self) -> Path:
        """What was fetched before the ranks start."""
        return self.root / "inputs.json"

    @property
    def code(self) -> Path:
        """The code of a git repository."""
        return self.root / "code"

    def pulse(self, local_rank: int) -> Path:
        """The page of memory that a rank shares with the launcher."""
        return self.root / "pulse" / str(local_rank)

    def stacks(self, local_rank: int) -> Path:
        """Where a rank writes its stacks when asked."""
        return self.root / "pulse" / f"{local_rank}.stacks"

    @property
    def stopped(self) -> Path:
        """Written by a rank that saved and ended because it was asked to."""
        return self.root / "stopped"

    @property
    def temporary(self) -> Path:
        """For TMPDIR: a pod's root file system is read-only."""
        return self.root / "tmp"


def of_pod() -> Workspace:
    """The workspace of this pod."""
    return Workspace(layout.root() / layout.WORK)


def empty(workspace: Workspace) -> None:
    """Remove what an earlier attempt in this pod's folder left, and make the folders. Raises OSError."""
    for file in (workspace.saved, workspace.stopped, workspace.inputs):
        file.unlink(missing_ok=True)
    (workspace.root / layout.PROGRESS_FILE).unlink(missing_ok=True)
    for folder in (workspace.artifact, workspace.failures, workspace.temporary, workspace.root / "variants"):
        empty_folder(folder)


def empty_folder(folder: Path) -> None:
    """Make the folder anew. Raises OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
