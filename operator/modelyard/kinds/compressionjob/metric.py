"""How the accuracy of a compressed model is measured: by a metric that is built in, or by a function of the user's."""

from typing import Annotated

from pydantic import Field

from modelyard.api.base import Model, rule

BUILT_IN_METRICS = ("Top1", "F1", "Rmse", "Cosine")
ENTRYPOINT = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


class Metric(Model):
    """How accuracy is measured on the evaluation set."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=63)] = "Top1"
    """Top1: share of samples whose largest output is the label. F1: mean over the classes of the harmonic mean of
    precision and recall, for classes of unequal size. Rmse: root mean square error, lower is better.
    Cosine: mean cosine similarity to the labels. Any other name is that of an entry point's metric."""
    entrypoint: Annotated[str | None, Field(pattern=ENTRYPOINT, max_length=253)] = None
    """A function that can be imported in the compressor's image, as package.module:function. It is called with the
    model's outputs by name and the labels, batch by batch, and returns one number a sample; the metric is their mean.
    """
    higher_is_better: bool | None = None
    """False: the metric of the entry point is an error. Default: true."""

    @rule(
        "has(self.entrypoint) != (!has(self.name) || self.name in ['Top1', 'F1', 'Rmse', 'Cosine'])",
        "metric.name: one of Top1, F1, Rmse and Cosine, or another one with an entrypoint",
    )
    def _own_name_has_entrypoint(self) -> bool:
        return (self.entrypoint is not None) != (self.name in BUILT_IN_METRICS)

    @rule(
        "!has(self.higherIsBetter) || has(self.entrypoint)",
        "metric.higherIsBetter is of an entrypoint; the other metrics know",
    )
    def _direction_has_entrypoint(self) -> bool:
        return self.higher_is_better is None or self.entrypoint is not None
