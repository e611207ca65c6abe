"""Which layers are two smaller ones in a row? Matrix products and 1x1 convolutions, by their singular values."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelyard_trainer.errors import TrainingError
from modelyard_trainer.parity import leaves


class LowRankFailedError(TrainingError):
    """The module cannot be factorised as asked."""

    reason = "LowRankFailed"


def factorise(module: nn.Module, example: Sequence[Tensor], energy: float) -> tuple[int, int]:
    """Put two layers in the place of each one that gets smaller by it, in ``module``, in place.

    Each keeps the largest singular values that hold ``energy`` of the sum of all squares. Returns the parameters before
    and after. Raises LowRankFailedError.
    """
    before = _parameters(module)
    for name, part in list(module.named_modules()):
        if (factors := factors_of(part, energy)) is not None and name:
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, factors)
    after = _parameters(module)
    if after == before:
        raise LowRankFailedError(
            f"recipe.lowRank: no layer gets smaller with {energy:g} of its energy; lower energy, or leave the step out"
        )
    try:
        with torch.no_grad():
            leaves(module(*example))
    except Exception as error:
        raise LowRankFailedError(
            f"recipe.lowRank: the module does not run with factorised layers ({type(error).__name__}: {error}); "
            "call its layers instead of their weights, or take prune"
        ) from error
    return before, after


def factors_of(part: nn.Module, energy: float) -> nn.Sequential | None:
    """The two layers, None where they would not be smaller, or for another kind of layer.

    Exactly these types: what is derived from them may use the weight itself, as attention does.
    """
    if type(part) is nn.Linear:
        outer, inner = split(part.weight, energy)
        if not _smaller(outer, inner, part.weight):
            return None
        first = nn.Linear(part.in_features, len(inner), bias=False)
        second = nn.Linear(len(inner), part.out_features, bias=part.bias is not None)
        return _filled(first, second, inner, outer, part.bias)
    if type(part) is nn.Conv2d and tuple(part.kernel_size) == (1, 1) and part.groups == 1:
        outer, inner = split(part.weight.flatten(1), energy)
        if not _smaller(outer, inner, part.weight):
            return None
        reduced = nn.Conv2d(part.in_channels, len(inner), 1, bias=False, padding_mode=part.padding_mode)
        reduced.stride, reduced.padding = part.stride, part.padding
        widened = nn.Conv2d(len(inner), part.out_channels, 1, bias=part.bias is not None)
        return _filled(reduced, widened, inner[..., None, None], outer[..., None, None], part.bias)
    return None


def split(weight: Tensor, energy: float) -> tuple[Tensor, Tensor]:
    """``weight`` [m, n] as [m, r] @ [r, n], the best of its rank, which is the least that keeps ``energy``."""
    left, values, right = torch.linalg.svd(weight.detach().double(), full_matrices=False)
    shares = values.square().cumsum(0) / values.square().sum()
    rank = min(len(values), int((shares < energy).sum()) + 1)
    root = values[:rank].sqrt()
    return (left[:, :rank] * root).to(weight.dtype), (root[:, None] * right[:rank]).to(weight.dtype)


def _smaller(outer: Tensor, inner: Tensor, weight: Tensor) -> bool:
    return outer.numel() + inner.numel() < weight.numel()


def _filled(
    first: nn.Linear | nn.Conv2d, second: nn.Linear | nn.Conv2d, inner: Tensor, outer: Tensor, bias: Tensor | None
) -> nn.Sequential:
    with torch.no_grad():
        first.weight.copy_(inner)
        second.weight.copy_(outer)
        if bias is not None and second.bias is not None:
            second.bias.copy_(bias)
    return nn.Sequential(first, second).to(inner.device)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
