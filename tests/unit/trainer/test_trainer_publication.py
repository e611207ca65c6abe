"""A model that is trained is worth some patience."""

import pytest

from modelyard.contract.reports import PublishedArtifact
from modelyard.storage.errors import StorageError
from modelyard_trainer import publication

ARTIFACT = PublishedArtifact(uri="s3://b/m", digest=f"sha256:{'0' * 64}", size_bytes=1)


def test_storage_that_comes_back_costs_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_PAUSES", (0.0, 0.0))
    answers: list[StorageError | PublishedArtifact] = [
        StorageError("StorageUnreachable", "s3://b: no answer"),
        ARTIFACT,
    ]

    def upload() -> PublishedArtifact:
        answer = answers.pop(0)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    assert publication._patiently(upload) == ARTIFACT


@pytest.mark.parametrize(
    ("reason", "told", "tries"),
    [("StorageUnreachable", "UploadFailed", 3), ("StorageFull", "StorageFull", 1)],
)
def test_storage_that_stays_away_is_a_failed_upload_and_a_full_one_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, reason: str, told: str, tries: int
) -> None:
    monkeypatch.setattr(publication, "_PAUSES", (0.0, 0.0))
    calls: list[str] = []

    def upload() -> PublishedArtifact:
        calls.append(reason)
        raise StorageError(reason, "s3://b: no answer")

    with pytest.raises(StorageError, match="s3://b: no answer") as failed:
        publication._patiently(upload)
    assert (failed.value.reason, len(calls)) == (told, tries)
