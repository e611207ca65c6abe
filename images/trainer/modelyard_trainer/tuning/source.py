"""What is in the artefact that a tuning starts from? The launcher has verified its bytes."""

from pathlib import Path

import numpy as np

from modelyard.contract.artifact import (
    CALIBRATION_FILE,
    EVALUATION_FILE,
    LABELS,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Manifest,
)
from modelyard_trainer.datasets import Arrays, Samples


class Source:
    """The artefact in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        self.signature = manifest.inputs
        """The inputs, in the order of ``forward``."""
        self.inputs = [each.name for each in manifest.inputs]
        """Their names."""
        self.outputs = [each.name for each in manifest.outputs]

    @property
    def weights(self) -> Path | None:
        """The file with the weights, if it carries one."""
        path = self._folder / WEIGHTS_FILE
        return path if path.is_file() else None

    @property
    def evaluation(self) -> list[Samples] | None:
        """Its evaluation set, which a model made of it carries on."""
        arrays = self._arrays(EVALUATION_FILE)
        return None if arrays is None else [arrays[name] for name in (*self.inputs, LABELS)]

    @property
    def calibration(self) -> list[Samples] | None:
        """Its calibration set, likewise."""
        arrays = self._arrays(CALIBRATION_FILE)
        return None if arrays is None else [arrays[name] for name in self.inputs]

    def _arrays(self, name: str) -> Arrays | None:
        if not (self._folder / name).is_file():
            return None
        with np.load(self._folder / name, allow_pickle=False) as file:
            return {each: file[each] for each in file.files}
