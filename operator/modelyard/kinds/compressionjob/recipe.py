"""CompressionJob: the steps of a recipe."""

from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.base import Model, rule
from modelyard.contract.runs import VariantRun

Share = Annotated[str, Field(pattern=r"^0\.[0-9]{0,2}[1-9]$", max_length=5)]
"""Above 0 and below 1, to at most three digits, as a decimal string."""


class Finetuned(Model):
    """A step that changes what the model computes, and so trains it again on data.training."""

    finetune_epochs: Annotated[int, Field(ge=1, le=1000)] = 2
    """Epochs of training after the step."""
    learning_rate: Annotated[str, Field(pattern=r"^0\.[0-9]{1,8}$", max_length=10)] = "0.001"
    """The largest learning rate of these epochs (AdamW, one cycle)."""


class Prune(Finetuned):
    """Remove whole channels, so that every layer is smaller. It needs code, entrypoint and data.training."""

    method: Annotated[str, Field(max_length=32)] = "Taylor"
    """How channels are weighed. Taylor: by how much the loss would change without them. Magnitude: by the size of
    their weights."""
    ratio: Annotated[list[Share], Field(min_length=1, max_length=4)] = ["0.3"]
    """The share of the channels of each layer that goes, a search axis. The output keeps its channels."""
    round_to: Annotated[int, Field(ge=1, le=256)] = 8
    """What is left of each layer is rounded down to a multiple of this: kernels work on so many channels at once."""

    @rule(
        "!has(self.method) || self.method in ['Taylor', 'Magnitude']",
        "method: Taylor or Magnitude, which remove whole channels; unstructured and 2:4 sparsity are not offered, since"
        " ONNX Runtime has no kernels that are faster or smaller for them",
    )
    def _method_is_structured(self) -> bool:
        return self.method in ("Taylor", "Magnitude")


class LowRank(Finetuned):
    """Put two small layers in the place of a large one: matrix products and 1x1 convolutions, by their singular values.

    It needs code, entrypoint and data.training.
    """

    energy: Annotated[list[Share], Field(min_length=1, max_length=4)] = ["0.9"]
    """The share of the sum of squared singular values that each layer keeps, a search axis. Layers that would not get
    smaller stay."""


class Distil(Model):
    """Let the source teach: the loss of the fine-tune after prune and lowRank."""

    temperature: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}(\.[0-9]{1,4})?$", max_length=8)] = "4"
    """Softens the answers of both, so that also the wrong classes tell something. From 1."""
    alpha: Annotated[str, Field(pattern=r"^(0|1|0\.[0-9]{1,4})$", max_length=6)] = "0.7"
    """The share of the teacher's answers in the loss; the rest is that of the labels."""
    features: Annotated[str, Field(pattern=r"^[0-9]{1,5}(\.[0-9]{1,4})?$", max_length=10)] = "0"
    """The weight of a further loss: how alike samples are to each other in what goes into the last layer."""


class Quantize(Model):
    """Fewer bits in place of floats. Each list is a search axis: every combination is a trial."""

    mode: Annotated[
        list[Literal["Auto", "Static", "Dynamic", "Int4", "Float16"]], Field(min_length=1, max_length=5)
    ] = ["Auto"]
    """Static: convolutions, with calibration. Dynamic: matrix products only. Auto: one of these, by the model's
    operators. Int4: weights of matrix products in four bits. Float16: weights stored in 16 bits, computed in 32.
    """
    per_channel: Annotated[list[bool], Field(min_length=1, max_length=2)] = [True, False]
    """One scale for each output channel of a weight."""
    range_repair: Annotated[list[bool], Field(min_length=1, max_length=2)] = [True, False]
    """Even out the ranges of channels before, and correct biases after. The float function stays the same."""
    reduce_range: Literal["Auto", "Always", "Never"] = "Auto"
    """Seven-bit weights. Auto: where the CPU has no VNNI and would saturate."""
    calibration_method: Annotated[
        list[Literal["MinMax", "Entropy", "Percentile"]], Field(min_length=1, max_length=3)
    ] = ["MinMax"]
    """How ranges follow from the calibration data."""
    accuracy_fallback_nodes: Annotated[int, Field(ge=0, le=256)] = 8
    """At most so many nodes stay in float, the noisiest first, where a trial would not hold gates.maxAccuracyDrop."""


class Optimise(Model):
    """Graph optimisation before quantization; it has no options yet."""


class Step(Model):
    """One step of the recipe. Exactly one is set."""

    prune: Prune | None = None
    """Remove channels and fine-tune."""
    low_rank: LowRank | None = None
    """Factorise layers and fine-tune."""
    distil: Distil | None = None
    """Fine-tune with the source as the teacher."""
    optimise: Optimise | None = None
    """Fold constants and fuse operators."""
    quantize: Quantize | None = None
    """Quantize to eight bits."""

    @rule(
        "[has(self.prune), has(self.lowRank), has(self.distil), has(self.optimise), has(self.quantize)]"
        ".filter(each, each).size() == 1",
        "set exactly one of prune, lowRank, distil, optimise and quantize in each step",
    )
    def _one_step(self) -> bool:
        return sum(step is not None for step in self._steps()) == 1

    @property
    def place(self) -> int:
        """Where it stands in a recipe."""
        return next(place for place, step in enumerate(self._steps()) if step is not None)

    def _steps(self) -> list[Model | None]:
        return [self.prune, self.low_rank, self.distil, self.optimise, self.quantize]


def variants_of(prune: Prune | None, low_rank: LowRank | None) -> list[VariantRun]:
    """The models to make of the source: each combination of ratio and energy once."""
    ratios = list(dict.fromkeys(prune.ratio)) if prune is not None else [None]
    energies = list(dict.fromkeys(low_rank.energy)) if low_rank is not None else [None]
    return [
        VariantRun(
            name="-".join(
                [*([] if ratio is None else [f"pruned-{ratio}"]), *([] if energy is None else [f"lowrank-{energy}"])]
            ),
            ratio=None if ratio is None else float(ratio),
            energy=None if energy is None else float(energy),
        )
        for ratio, energy in product(ratios, energies)
    ]
