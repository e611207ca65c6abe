"""Which failure is the cause, and how it reads."""

import signal
from pathlib import Path

import pytest

from modelyard.storage.errors import StorageError
from modelyard_trainer import outcome
from modelyard_trainer.errors import ExportError, PeerLostError
from modelyard_trainer.outcome import RankFailure

CODE = Path(__file__).parent


def failure(rank: int, time: float, reason: str = "ProcessError") -> RankFailure:
    return RankFailure(rank=rank, time=time, reason=reason, message=f"rank {rank}: ...")


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_the_first_failure_is_the_cause() -> None:
    assert outcome.root_cause([failure(3, 10.2), failure(2, 10.1)]).rank == 2


def test_a_lost_peer_is_never_the_cause_while_there_is_another() -> None:
    assert outcome.root_cause([failure(0, 10.0, "PeerLost"), failure(1, 10.9)]).rank == 1
    assert outcome.root_cause([failure(1, 10.1, "PeerLost"), failure(0, 10.0, "PeerLost")]).rank == 0


def test_a_message_holds_the_error_and_the_innermost_lines_of_the_users_code() -> None:
    told = outcome.of_exception(2, raised(ValueError("labels must be 0..9")), CODE, time=0)
    assert told.reason == "ProcessError"
    assert told.message.splitlines() == [
        "rank 2: ValueError: labels must be 0..9",
        "  test_trainer_outcome.py:22 in raised: raise error",
    ]


def test_an_error_with_a_remedy_needs_no_lines() -> None:
    told = outcome.of_exception(0, raised(ExportError("aten.linalg_eig has no ONNX form")), CODE, time=0)
    assert (told.reason, told.message) == ("ExportFailed", "rank 0: aten.linalg_eig has no ONNX form")


def test_a_killed_rank_names_its_signal() -> None:
    assert outcome.of_exit(1, -signal.SIGSEGV, time=0).message == "rank 1 was killed by SIGSEGV"
    assert outcome.of_exit(1, -signal.SIGKILL, time=0).message.startswith("rank 1 was killed by SIGKILL; ")
    assert outcome.of_exit(1, 3, time=0).message.startswith("rank 1 exited with code 3; ")


DistNetworkError = type("DistNetworkError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), "PeerLost"),
        (
            RuntimeError("[/gloo/transport/tcp/pair.cc:457] Read error [10.0.0.1]:1: Connection reset by peer"),
            "PeerLost",
        ),
        (RuntimeError("NCCL error: remote process exited or there was a network error"), "PeerLost"),
        (DistNetworkError("failed to recv, got 0 bytes"), "PeerLost"),
        (PeerLostError("save failed on rank 0: ExportError"), "PeerLost"),
        (ConnectionResetError("database: Connection reset by peer"), "ProcessError"),
        (RuntimeError("gloo: tensors differ in size"), "ProcessError"),
        (MemoryError(), "ProcessError"),
        (StorageError("StorageFull", "pvc://models: no space left"), "StorageFull"),
    ],
)
def test_the_reason_of_an_error(error: Exception, reason: str) -> None:
    assert outcome.reason_of(error) == reason
