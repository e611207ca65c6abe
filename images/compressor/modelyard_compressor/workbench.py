"""What do trials share, so that each is cheap? The float models that they start from, and the calibrated ranges."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from modelyard_compressor.calibration import CalibrationReader
from modelyard_compressor.quantize import build_dynamic, build_half, build_int4, build_static, check_quantized
from modelyard_compressor.repair import Repaired, correct, repair
from modelyard_compressor.sessions import Feed, Tensor
from modelyard_compressor.trials import Trial


@dataclass
class Workbench:
    """One float model and its calibration data. What is made for one trial is kept for the next."""

    float_model: Path
    """Its nodes have names of their own: see ``name_nodes``."""
    scratch: Path
    probe: Feed
    """A batch on which models that must answer alike are compared."""
    calibration: dict[str, Tensor] | None
    """The drawn samples; absent where no trial needs them."""
    batch: int
    """The batch size that the model wants, 1 where it takes any."""
    threads: int
    _repaired: Repaired | None = field(default=None, init=False)

    def source(self, trial: Trial) -> Path:
        """The float model that a trial quantizes. Raises what ``repair`` raises."""
        return self._repair().path if trial.range_repair else self.float_model

    def build(self, trial: Trial, target: Path, excluded: Sequence[str] = ()) -> None:
        """Write the trial's model to the single file ``target``; the nodes named in ``excluded`` stay in float.

        Raises CompressionError (NothingQuantized) where not one operator changed, what ``repair`` raises, and whatever
        onnxruntime raises.
        """
        source = self.source(trial)
        match trial.mode:
            case "Static":
                reader = self.reader()
                assert reader is not None, "a static trial was planned without calibration data"
                assert trial.calibration_method is not None, "a static trial has a calibration method"
                ranges = self.scratch / f"ranges-{source.stem}-{trial.calibration_method}.json"
                build_static(trial, source, target, reader, ranges, excluded)
            case "Dynamic":
                build_dynamic(trial, source, target, excluded)
            case "Int4":
                build_int4(source, target, excluded)
            case "Float16":
                build_half(source, target)
        check_quantized(trial, target)
        if trial.range_repair and trial.mode == "Static":
            correct(target, self._repair())

    def reader(self) -> CalibrationReader | None:
        """A fresh reader of the calibration samples."""
        return CalibrationReader(self.calibration, self.batch) if self.calibration else None

    def _repair(self) -> Repaired:
        if self._repaired is None:
            target = self.scratch / "repaired.onnx"
            self._repaired = repair(self.float_model, target, self.probe, self.reader(), self.scratch, self.threads)
        return self._repaired


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node of ``model`` a name of its own, in place: what is left out, or reported, is told by name."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{place}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)
