"""What the launchers of an attempt agree on: how many restarts in place are left, and when all stop."""

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from modelyard_trainer.gang import Gang
from modelyard_trainer.outcome import RankFailure

ERROR = RankFailure(rank=2, time=0, reason="ProcessError", message="rank 2: ValueError: bad label", raised=True)
KILLED = RankFailure(rank=1, time=0, reason="ProcessError", message="rank 1 was killed by SIGKILL")


@pytest.fixture
def gang() -> Gang:
    return Gang.of(HashStore(), "uid-1")


def test_restarts_are_counted_for_all_and_the_last_cause_is_kept(gang: Gang) -> None:
    assert [gang.restart(KILLED, allowed=2) for _ in range(3)] == [True, True, False]
    incident = gang.last_incident()
    assert incident is not None
    assert (incident.in_place.count, incident.in_place.rank) == (2, 1)
    assert gang.restarts_left(allowed=2) == 0


@pytest.mark.parametrize("reason", ["ExportFailed", "StorageFull", "NothingSaved"])
def test_what_only_an_edit_mends_is_not_tried_again(gang: Gang, reason: str) -> None:
    assert not gang.restart(ERROR.model_copy(update={"reason": reason}), allowed=9)
    assert gang.last_incident() is None


def test_an_error_that_another_rank_repeats_is_the_same_unless_a_checkpoint_lies_between(gang: Gang) -> None:
    other = ERROR.model_copy(update={"rank": 0, "message": "rank 0: ValueError: bad label"})
    assert gang.restart(ERROR, allowed=9)
    assert not gang.restart(other, allowed=9)
    gang.checkpointed(40)
    assert gang.restart(other, allowed=9)


def test_a_word_of_one_pod_reaches_the_others(gang: Gang) -> None:
    assert (gang.asked_to_stop(), gang.stop_at(), gang.stalled()) == (False, None, False)
    gang.ask_to_stop()
    gang.tell_stop_at(7)
    gang.tell_stalled()
    assert (gang.asked_to_stop(), gang.stop_at(), gang.stalled()) == (True, 7, True)
