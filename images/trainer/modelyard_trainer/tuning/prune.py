"""Which channels go? Whole ones, the least important of each layer, with all that depends on them."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelyard.contract.runs import PruneRun
from modelyard_trainer.errors import TrainingError
from modelyard_trainer.parity import leaves
from modelyard_trainer.tuning.layers import output_layers


class PruneFailedError(TrainingError):
    """The module cannot be pruned as asked."""

    reason = "PruneFailed"


def prune(module: nn.Module, example: Sequence[Tensor], asked: PruneRun, ratio: float) -> tuple[int, int]:
    """Take ``ratio`` of each layer's channels out of ``module``, in place; returns its parameters before and after.

    Layers that make the outputs keep their channels. Taylor takes the gradients that the parameters have (Molchanov et
    al., arXiv:1906.10771). Channels that depend on each other go together (DepGraph, arXiv:2301.12900). Raises
    PruneFailedError.
    """
    try:
        import torch_pruning  # noqa: PLC0415 - what tunes nothing does not need it
    except ImportError as error:
        raise PruneFailedError(
            "recipe.prune: the image has no torch-pruning; add it to spec.trainerImage, or leave that out"
        ) from error
    before, shapes = _parameters(module), _shapes(module, example)
    kept = [module.get_submodule(name) for name in output_layers(module, example)]
    importance = {
        "Taylor": torch_pruning.importance.GroupTaylorImportance,
        "Magnitude": torch_pruning.importance.GroupMagnitudeImportance,
    }[asked.method]()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            torch_pruning.pruner.BasePruner(
                module, list(example), importance, pruning_ratio=ratio, ignored_layers=kept, round_to=asked.round_to
            ).step()
        found = _shapes(module, example)
    except Exception as error:
        raise PruneFailedError(
            f"recipe.prune: the module does not run without some channels ({type(error).__name__}: {error}); "
            "write its forward without fixed sizes, or take lowRank, which keeps all shapes"
        ) from error
    if found != shapes:
        raise PruneFailedError(
            f"recipe.prune: the outputs had the shapes {shapes} and now have {found}; "
            "take lowRank, which keeps all shapes"
        )
    after = _parameters(module)
    if after == before:
        raise PruneFailedError(
            f"recipe.prune: a ratio of {ratio:g} with roundTo {asked.round_to} takes no channel away; "
            "raise the ratio, or lower roundTo"
        )
    for parameter in module.parameters():
        parameter.grad = None
    return before, after


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shapes(module: nn.Module, example: Sequence[Tensor]) -> list[list[int]]:
    with torch.no_grad():
        return [list(output.shape) for output in leaves(module(*example))]
