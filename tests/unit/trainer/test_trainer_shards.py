"""A sharded state is written by each rank and read by any number of them, in any other layout."""

import random
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch._C._distributed_c10d import HashStore, TCPStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from modelyard.contract.reports import CheckpointReport
from modelyard.storage.errors import StorageError
from modelyard.storage.local import LocalFolder
from modelyard_trainer import shards
from modelyard_trainer.checkpoint import Checkpoints
from modelyard_trainer.errors import PeerLostError
from modelyard_trainer.group import Group

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(store=LocalFolder("pvc://ckpt/big", tmp_path), job_uid="uid-1", attempt=1, keep_latest=2)


def parts_of(whole: torch.Tensor, cuts: list[list[int]], place: str = "model/weight") -> list[shards.Part]:
    """The parts of ranks that hold one box each, of a grid cut at ``cuts`` in each dimension."""
    boxes: list[list[tuple[int, int]]] = [[]]
    for size, cut in zip(whole.shape, cuts, strict=True):
        ends = sorted({0, *cut, size})
        boxes = [[*box, span] for box in boxes for span in pairwise(ends)]
    frame = {"model": {"weight": {shards.MARK: place, "shape": list(whole.shape), "dtype": "float32"}}, "epoch": 4}
    found = []
    for box in boxes:
        held = shards.Box(offsets=[a for a, _ in box], sizes=[b - a for a, b in box])
        tensor = whole[tuple(slice(a, b) for a, b in box)].contiguous()
        found.append(shards.Part(frame, {place: tensor}, {place: held}))
    return found


def commit(checkpoints: Checkpoints, step: int, parts: list[shards.Part]) -> CheckpointReport:
    entries = [checkpoints.write_part(step, part, rank) for rank, part in enumerate(parts)]
    return checkpoints.commit_parts(step, parts[0].frame, entries, None, None)


@pytest.mark.parametrize("seed", range(20))
def test_any_layout_is_read_whole_and_into_any_other(checkpoints: Checkpoints, seed: int) -> None:
    chance = random.Random(seed)
    shape = [chance.randint(1, 9) for _ in range(chance.randint(1, 3))]

    def layout(whole: torch.Tensor) -> list[shards.Part]:
        return parts_of(whole, [chance.sample(range(size + 1), k=min(2, size)) for size in shape])

    whole = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    report = commit(checkpoints, 1, layout(whole))
    state, _ = checkpoints.load(report, CPU)
    assert (state["step"], state["epoch"]) == (1, 4)
    assert torch.equal(state["model"]["weight"], whole)
    folder = checkpoints.store.directory / "uid-1" / "step-00000001"
    chunks = torch.load(folder / "state.pt", weights_only=True)["chunks"]["model/weight"]
    found = [shards.Chunk.model_validate(each) for each in chunks]
    for part in layout(torch.zeros(shape)):
        box, target = part.boxes["model/weight"], part.tensors["model/weight"]
        shards._fill(target, box.offsets, "model/weight", found, folder.joinpath)
        assert torch.equal(target, whole[tuple(slice(a, a + n) for a, n in zip(box.offsets, box.sizes, strict=True))])


def test_tensors_of_a_mesh_are_split_off_and_read_back_in_place(mesh: DeviceMesh, checkpoints: Checkpoints) -> None:
    whole = torch.randn(4, 6)
    state = {"model": {"weight": distribute_tensor(whole.clone(), mesh, [Shard(0)])}, "lr": 0.5, "plain": torch.ones(2)}
    assert shards.sharded(state)
    assert not shards.sharded({"plain": torch.ones(2)})
    part = shards.split(state)
    report = commit(checkpoints, 3, [part])
    fresh = {"model": {"weight": distribute_tensor(torch.zeros(4, 6), mesh, [Shard(1)])}}
    loaded, _ = checkpoints.load(report, CPU, fresh)
    assert loaded["model"]["weight"] is fresh["model"]["weight"]
    assert torch.equal(fresh["model"]["weight"].full_tensor(), whole)
    assert (loaded["lr"], loaded["plain"].tolist(), loaded["step"]) == (0.5, [1.0, 1.0], 3)


@pytest.mark.parametrize(("coordinate", "written"), [(0, ["weight"]), (1, [])])
def test_what_is_replicated_is_written_once(
    mesh: DeviceMesh, monkeypatch: pytest.MonkeyPatch, coordinate: int, written: list[str]
) -> None:
    replica = distribute_tensor(torch.ones(3), mesh, [Replicate()])
    monkeypatch.setattr(DeviceMesh, "get_coordinate", lambda _: [coordinate])
    part = shards.split({"weight": replica})
    assert (list(part.tensors), list(part.boxes)) == (written, written)


def test_a_sum_that_is_not_reduced_is_refused(mesh: DeviceMesh) -> None:
    partial = DTensor.from_local(torch.ones(3), mesh, [Partial()])
    with pytest.raises(ValueError, match="weight is a partial sum; call redistribute"):
        shards.split({"weight": partial})


def test_another_shape_is_refused_by_name(checkpoints: Checkpoints) -> None:
    report = commit(checkpoints, 1, parts_of(torch.zeros(4, 2), [[2], []]))
    with pytest.raises(ValueError, match=r"model/weight has the shape \[4, 2\] in the checkpoint, but is \[5, 2\]"):
        checkpoints.load(report, CPU, {"model": {"weight": torch.zeros(5, 2)}})


def test_a_part_that_was_changed_makes_the_checkpoint_a_damaged_one(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    good = commit(checkpoints, 1, parts_of(torch.zeros(4, 2), [[2], []]))
    bad = commit(checkpoints, 2, parts_of(torch.zeros(4, 2), [[2], []]))
    path = checkpoints.store.directory / "uid-1" / "step-00000002" / "shard-1-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert checkpoints.newest() == good
    assert "skipped a damaged checkpoint" in capsys.readouterr().out
    with pytest.raises(StorageError, match="was changed"):
        checkpoints.load(bad, CPU)


def test_parts_without_a_commit_do_not_count_and_go_with_the_next(checkpoints: Checkpoints) -> None:
    good = commit(checkpoints, 1, parts_of(torch.zeros(4, 2), [[2], []]))
    checkpoints.write_part(2, parts_of(torch.zeros(4, 2), [[2], []])[1], 1)
    assert checkpoints.newest() == good
    commit(checkpoints, 3, parts_of(torch.zeros(4, 2), [[2], []]))
    folder = checkpoints.store.directory / "uid-1"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000001", "step-00000003"]


def test_a_rank_that_cannot_write_is_told_to_all() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told: dict[int, object] = {}

    def rank(number: int) -> None:
        group = Group(number, number, 3, CPU, store)

        def work() -> str:
            if number == 2:
                raise OSError("the disk is gone")
            return str(number)

        for turn in (work, lambda: str(number)):
            try:
                told[number] = group.together("checkpoint", turn, "+".join)
            except (OSError, PeerLostError) as error:
                told[number + 10] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [told[number] for number in range(3)] == ["0+1+2"] * 3
    assert isinstance(told[12], OSError)
    assert all(
        "the disk is gone" in str(told[number]) and isinstance(told[number], PeerLostError) for number in (10, 11)
    )
