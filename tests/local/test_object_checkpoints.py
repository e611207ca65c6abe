"""Checkpoints in a bucket of a real S3 server: only those that are committed count."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from modelyard.contract import layout
from modelyard.storage.bucket import Bucket
from modelyard.storage.errors import StorageError
from modelyard.storage.keys import keys_of
from modelyard.storage.uri import parse
from modelyard_trainer.checkpoint import Checkpoints
from object_stores import BUCKET, ObjectServer, object_server

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def checkpoints(tmp_path: Path, server: ObjectServer) -> Iterator[Checkpoints]:
    bucket = Bucket(parse(f"s3://{BUCKET}/ckpt"), keys_of("store", server.secret, "s3"), tmp_path / layout.TRANSFERS)
    yield Checkpoints(store=bucket, job_uid="uid-1", attempt=1, keep_latest=2)
    bucket.remove()


def state(value: float) -> dict[str, object]:
    return {"model": {"weight": torch.full((3,), value)}, "epoch": int(value)}


def test_the_newest_are_kept_and_loaded_again(checkpoints: Checkpoints, server: ObjectServer) -> None:
    for step in (1, 2, 3):
        report = checkpoints.commit(step, state(step))
    assert report.uri == f"s3://{BUCKET}/ckpt/uid-1/step-00000003"
    assert checkpoints.newest() == report
    loaded, _ = checkpoints.load(report, CPU)
    assert (loaded["step"], loaded["epoch"], loaded["model"]["weight"].tolist()) == (3, 3, [3.0, 3.0, 3.0])
    assert server.names("ckpt/uid-1") == [
        f"step-0000000{step}/{file}" for step in (2, 3) for file in ("commit.json", "state.pt")
    ]


def test_what_a_killed_rank_left_does_not_count_and_costs_no_whole_one(
    checkpoints: Checkpoints, server: ObjectServer
) -> None:
    good = checkpoints.commit(1, state(1))
    for step in (2, 3):
        server.write(f"ckpt/uid-1/step-0000000{step}/state.pt", b"half")
    assert checkpoints.newest() == good
    checkpoints.commit(4, state(4))
    assert sorted({name.partition("/")[0] for name in server.names("ckpt/uid-1")}) == ["step-00000001", "step-00000004"]


def test_a_damaged_one_is_skipped_and_replaced_by_the_next(checkpoints: Checkpoints, server: ObjectServer) -> None:
    good = checkpoints.commit(1, state(1))
    checkpoints.commit(2, state(2))
    server.change_a_byte("ckpt/uid-1/step-00000002/state.pt")
    assert checkpoints.newest() == good
    again = checkpoints.commit(2, state(2))
    assert checkpoints.newest() == again


def test_an_endpoint_that_is_down_is_no_reason_to_start_from_the_beginning(
    tmp_path: Path, server: ObjectServer
) -> None:
    keys = keys_of("store", {**server.secret, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3")
    store = Bucket(parse(f"s3://{BUCKET}/ckpt"), keys, tmp_path)
    with pytest.raises(StorageError) as caught:
        Checkpoints(store=store, job_uid="uid-1", attempt=1, keep_latest=2).newest()
    assert caught.value.reason == "StorageUnreachable"
