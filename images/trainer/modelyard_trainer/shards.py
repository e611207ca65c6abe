"""State that lies spread over the ranks: each writes its own part, and any number of ranks reads it again.

A part is a safetensors file. The frame is the state without those parts, and says which file holds what.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from modelyard.contract.artifact import FileEntry
from modelyard.contract.base import Document

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

MARK = "modelyard/sharded"
"""The key of a dict of the frame that stands for a tensor."""


class Box(Document):
    """The part of a tensor from ``offsets`` on, of ``sizes``; one number a dimension."""

    offsets: list[int]
    sizes: list[int]


class Chunk(Box):
    """A box, and the file that holds it."""

    file: str


class ShardEntry(Document):
    """What one rank wrote."""

    file: FileEntry
    boxes: dict[str, Box]
    """By the place of the tensor in the state, which is its name in the file."""


@dataclass
class Part:
    """What one rank holds of a state."""

    frame: Any
    """The state, with a mark in place of each sharded tensor."""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    """By place."""
    boxes: dict[str, Box] = field(default_factory=dict)


def sharded(value: object) -> bool:
    """Whether a DTensor is in ``value``; a script that has none has not imported them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(leaf, module.DTensor) for leaf in _leaves(value).values())


def copied(value: object) -> Any:  # noqa: ANN401 - like value
    """``value`` with every tensor copied to the CPU, in new lists, tuples and dicts; all else as it is."""
    return _mapped(value, lambda _, leaf: _on_cpu(leaf))


def split(state: Mapping[str, object]) -> Part:
    """The part of ``state`` that this rank holds, copied to the CPU. Raises ValueError for an unreduced sum."""
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - see sharded()

    part = Part(frame=None)

    def leaf(place: str, value: object) -> object:
        if not isinstance(value, DTensor):
            return _on_cpu(value)
        if any(placement.is_partial() for placement in value.placements):
            raise ValueError(f"run.checkpoint: {place} is a partial sum; call redistribute() on it first")
        if _is_first_copy(value):
            part.boxes[place] = _box(value)
            part.tensors[place] = value.to_local().detach().to("cpu", copy=True).contiguous()
        return {MARK: place, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}

    part.frame = _mapped(dict(state), leaf)
    return part


def write(part: Part, path: Path) -> None:
    """Write this rank's tensors. Raises OSError."""
    save_file(part.tensors, path)


def index(entries: Sequence[ShardEntry]) -> dict[str, list[dict[str, Any]]]:
    """Which file holds what, for the frame's file: what all ranks wrote, by the place of the tensor."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for place, box in entry.boxes.items():
            found.setdefault(place, []).append({"file": entry.file.path, **box.model_dump()})
    return found


def join(
    frame: object,
    where: Mapping[str, Sequence[Mapping[str, Any]]],
    fetch: Callable[[str], Path],
    device: torch.device,
    into: Mapping[str, object],
) -> dict[str, Any]:
    """The state of a frame: sharded tensors are read into those of the same place in ``into``, or come whole.

    ``fetch`` gives a part's file by its name; only those are asked for of which something is needed. Raises ValueError
    where a tensor of ``into`` has another shape.
    """
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - see sharded()

    targets = _leaves(into)

    def leaf(place: str, value: object) -> object:
        if not _is_mark(value):
            return value.to(device) if isinstance(value, torch.Tensor) else value
        shape = list(value["shape"])
        target = targets.get(place)
        if target is None:
            target = torch.empty(shape, dtype=getattr(torch, value["dtype"]), device=device)
        if not isinstance(target, torch.Tensor) or list(target.shape) != shape:
            found = list(target.shape) if isinstance(target, torch.Tensor) else type(target).__name__
            raise ValueError(f"run.resume: {place} has the shape {shape} in the checkpoint, but is {found} here")
        chunks = [Chunk.model_validate(each) for each in where[place]]
        if isinstance(target, DTensor):
            _fill(target.to_local(), _box(target).offsets, place, chunks, fetch)
        else:
            _fill(target, [0] * len(shape), place, chunks, fetch)
        return target

    state: dict[str, Any] = _mapped(frame, leaf)
    return state


@torch.no_grad()
def _fill(
    target: torch.Tensor, offsets: Sequence[int], place: str, chunks: Sequence[Chunk], fetch: Callable[[str], Path]
) -> None:
    """Copy what ``chunks`` of the tensor at ``place`` hold of the box at ``offsets`` into it."""
    for chunk in chunks:
        both = [
            (max(mine, its), min(mine + length, its + size))
            for mine, length, its, size in zip(offsets, target.shape, chunk.offsets, chunk.sizes, strict=True)
        ]
        if any(first >= end for first, end in both):
            continue
        there = tuple(slice(first - its, end - its) for (first, end), its in zip(both, chunk.offsets, strict=True))
        here = tuple(slice(first - mine, end - mine) for (first, end), mine in zip(both, offsets, strict=True))
        with safe_open(fetch(chunk.file), framework="pt") as file:
            piece = file.get_slice(place)[there] if there else file.get_tensor(place)
        target[here].copy_(piece)


def _box(tensor: "DTensor") -> Box:
    """The part of this rank, by the protocol of torch.distributed.checkpoint."""
    (chunk,) = tensor.__create_chunk_list__()
    return Box(offsets=list(chunk.offsets), sizes=list(chunk.sizes))


def _is_first_copy(tensor: "DTensor") -> bool:
    """Whether no rank before this one in the mesh holds the same part."""
    coordinate = tensor.device_mesh.get_coordinate()
    return coordinate is not None and all(
        at == 0 for at, placement in zip(coordinate, tensor.placements, strict=True) if placement.is_replicate()
    )


def _on_cpu(leaf: object) -> object:
    return leaf.detach().to("cpu", copy=True) if isinstance(leaf, torch.Tensor) else leaf


def _is_mark(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and MARK in value


def _leaves(value: object) -> dict[str, object]:
    """All that is no list, tuple or dict, by its place."""
    found: dict[str, object] = {}
    _mapped(value, found.__setitem__)
    return found


def _mapped(value: object, leaf: Callable[[str, object], object], place: str = "") -> Any:  # noqa: ANN401 - like value
    """``value`` with ``leaf(place, value)`` for all that is no list, tuple or dict, in new ones of those."""

    def below(key: object, item: object) -> object:
        return _mapped(item, leaf, f"{place}/{key}" if place else str(key))

    match value:
        case dict() if not _is_mark(value):
            return type(value)((key, below(key, item)) for key, item in value.items())
        case list():
            return [below(number, item) for number, item in enumerate(value)]
        case tuple() if type(value) is tuple:
            return tuple(below(number, item) for number, item in enumerate(value))
        case _:
            return leaf(place, value)
