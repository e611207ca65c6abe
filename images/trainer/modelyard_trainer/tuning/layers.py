"""Which layers make the outputs, and what goes into them?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from modelyard_trainer.parity import leaves

ROOTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers with channels of their own."""


def output_layers(module: nn.Module, example: Sequence[Tensor]) -> list[str]:
    """The names of the layers whose channels are those of an output: what comes after has none of its own."""
    names: dict[nn.Module, str] = {part: name for name, part in module.named_modules() if isinstance(part, ROOTS)}
    made: dict[object, str] = {}

    def note(part: nn.Module, _: object, output: Tensor) -> None:
        made[output.grad_fn] = names[part]

    handles = [part.register_forward_hook(note) for part in names]
    try:
        found: dict[str, None] = {}
        waiting: list[object] = [output.grad_fn for output in leaves(module(*example))]
        seen: set[object] = set()
        while waiting:
            function = waiting.pop()
            if function is None or function in seen:
                continue
            seen.add(function)
            if function in made:
                found[made[function]] = None
            else:
                waiting.extend(before for before, _ in getattr(function, "next_functions", ()))
    finally:
        for handle in handles:
            handle.remove()
    return sorted(found)


@contextmanager
def inputs_of(module: nn.Module, names: Sequence[str]) -> Iterator[list[Tensor]]:
    """What the last ``forward`` put into these layers, in the order of the names; empty before."""
    found: dict[str, Tensor] = {}
    into: list[Tensor] = []

    def note(name: str, given: tuple[Tensor, ...]) -> None:
        found[name] = given[0]
        into[:] = [found[each] for each in names if each in found]

    handles = [
        module.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: note(name, given))
        for name in names
    ]
    try:
        yield into
    finally:
        for handle in handles:
            handle.remove()
