"""How rank 0 shares a decision."""

import pytest
import torch
from torch._C._distributed_c10d import HashStore

from modelyard_trainer.errors import ExportError, PeerLostError
from modelyard_trainer.group import Group


def two_ranks() -> tuple[Group, Group]:
    store = HashStore()
    main, other = (Group(rank, rank, 2, torch.device("cpu"), store) for rank in (0, 1))
    return main, other


def never() -> str:
    pytest.fail("only rank 0 works")


def fail() -> str:
    raise ExportError("no ONNX form")


def test_all_ranks_get_what_rank_zero_found_in_turn() -> None:
    main, other = two_ranks()
    assert main.from_rank_zero("resume", lambda: "220") == "220"
    assert main.from_rank_zero("resume", lambda: "") == ""
    assert [other.from_rank_zero("resume", never) for _ in range(2)] == ["220", ""]


def test_a_failure_of_rank_zero_fails_every_rank() -> None:
    main, other = two_ranks()
    with pytest.raises(ExportError):
        main.from_rank_zero("save", fail)
    with pytest.raises(PeerLostError, match="save failed on rank 0: ExportError: no ONNX form"):
        other.from_rank_zero("save", never)


def test_a_world_of_one_shares_with_nobody() -> None:
    alone = Group(0, 0, 1, torch.device("cpu"), store=None)
    assert alone.from_rank_zero("resume", lambda: "220") == "220"
    alone.leave()
