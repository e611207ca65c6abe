"""What a rank that saved a model tells the launcher that publishes it."""

from modelyard.contract.artifact import TensorSpec
from modelyard.contract.base import Document


class Saved(Document):
    """The part of the manifest that only the rank knows."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    metrics: dict[str, float]
