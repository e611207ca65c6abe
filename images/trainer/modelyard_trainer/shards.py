"""State that lies spread over the ranks: each writes its own part, and any number of ranks reads it again.

A part is a safetensors file. The frame is the state without those parts, and says which file holds what.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from modelyard.contract.artifact import FileEntry
from modelyard.contract.base import Document

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

MARK = "modelyard/sharded"
"""The key of a dict of the frame that stands for a tensor."""


class Chunk(Document):
    """A box of a tensor: of ``sizes``, from ``offsets`` on, one number a dimension."""

    file: str = ""
    name: str
    """The tensor's name in the file."""
    offsets: list[int]
    sizes: list[int]


class ShardEntry(Document):
    """What one rank wrote."""

    file: FileEntry
    chunks: dict[str, list[Chunk]]
    """By the place of the tensor in the state."""


@dataclass
class Part:
    """What one rank holds of a state."""

    frame: Any
    """The state, with a mark in place of each sharded tensor."""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)


def sharded(value: object) -> bool:
    """Whether a DTensor is in ``value``; a script that has none has not imported them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(leaf, module.DTensor) for _, leaf in _leaves(value, ""))


def split(state: Mapping[str, object]) -> Part:
    """The part of ``state`` that this rank holds, copied to the CPU. Raises ValueError for an unreduced sum."""
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - see sharded()

    part = Part(frame=None)

    def leaf(place: str, value: object) -> object:
        if isinstance(value, DTensor):
            if any(placement.is_partial() for placement in value.placements):
                raise ValueError(f"run.checkpoint: {place} is a partial sum; call redistribute() on it first")
            if _is_first_copy(value):
                part.chunks[place] = [
                    Chunk(name=place, offsets=list(offsets), sizes=list(sizes)) for offsets, sizes in [_box(value)]
                ]
                part.tensors[place] = value.to_local().detach().to("cpu", copy=True).contiguous()
            return {MARK: place, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value

    part.frame = _mapped(dict(state), "", leaf)
    return part


def write(part: Part, path: Path) -> None:
    """Write this rank's tensors. Raises OSError."""
    save_file(part.tensors, path)


def index(entries: Sequence[ShardEntry]) -> dict[str, list[dict[str, Any]]]:
    """Which file holds what, for the frame's file: what all ranks wrote, by the place of the tensor."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for place, chunks in entry.chunks.items():
            for chunk in chunks:
                found.setdefault(place, []).append({**chunk.model_dump(), "file": entry.file.path})
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
    where a tensor of ``into`` has another shape, or is not in the frame.
    """
    from torch.distributed.tensor import DTensor  # noqa: PLC0415 - see sharded()

    targets = dict(_leaves(into, ""))
    chunks = {place: [Chunk.model_validate(each) for each in found] for place, found in where.items()}

    def leaf(place: str, value: object) -> object:
        if not (isinstance(value, dict) and MARK in value):
            return value.to(device) if isinstance(value, torch.Tensor) else value
        shape = list(value["shape"])
        target = targets.get(place)
        if target is None:
            whole = torch.empty(shape, dtype=getattr(torch, value["dtype"]), device=device)
            _fill(whole, [0] * len(shape), chunks[place], fetch)
            return whole
        if not isinstance(target, torch.Tensor) or list(target.shape) != shape:
            found = list(target.shape) if isinstance(target, torch.Tensor) else type(target).__name__
            raise ValueError(f"run.resume: {place} has the shape {shape} in the checkpoint, but is {found} here")
        if isinstance(target, DTensor):
            offsets, _ = _box(target)
            _fill(target.to_local(), offsets, chunks[place], fetch)
        else:
            _fill(target, [0] * len(shape), chunks[place], fetch)
        return target

    state: dict[str, Any] = _mapped(frame, "", leaf)
    return state


@torch.no_grad()
def _fill(target: torch.Tensor, offsets: Sequence[int], chunks: Sequence[Chunk], fetch: Callable[[str], Path]) -> None:
    """Copy what ``chunks`` hold of the box at ``offsets`` into it."""
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
            piece = file.get_slice(chunk.name)[there] if there else file.get_tensor(chunk.name)
        target[here].copy_(piece)


def _box(tensor: "DTensor") -> tuple[list[int], list[int]]:
    """Offsets and sizes of the part of this rank, by the protocol of torch.distributed.checkpoint."""
    (chunk,) = tensor.__create_chunk_list__()
    return list(chunk.offsets), list(chunk.sizes)


def _is_first_copy(tensor: "DTensor") -> bool:
    """Whether no rank before this one in the mesh holds the same part."""
    coordinate = tensor.device_mesh.get_coordinate()
    return coordinate is not None and all(
        at == 0 for at, placement in zip(coordinate, tensor.placements, strict=True) if placement.is_replicate()
    )


def _mapped(value: object, place: str, leaf: Callable[[str, object], object]) -> Any:  # noqa: ANN401 - like value
    match value:
        case dict() if MARK not in value:
            return {key: _mapped(item, _below(place, key), leaf) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_mapped(item, _below(place, number), leaf) for number, item in enumerate(value))
        case _:
            return leaf(place, value)


def _leaves(value: object, place: str) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _leaves(item, _below(place, key))
        case list() | tuple():
            for number, item in enumerate(value):
                yield from _leaves(item, _below(place, number))
        case _:
            yield place, value


def _below(place: str, key: object) -> str:
    return f"{place}/{key}" if place else str(key)
