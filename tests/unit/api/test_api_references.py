import pytest
from pydantic import TypeAdapter, ValidationError

from modelyard.api.references import Publisher, PublisherStatus, Uri, claims_of


def test_each_claim_is_named_once_in_order() -> None:
    uris = ("pvc://models/a", None, "file:///srv", "pvc://ckpt/b", "pvc://models/c", "no uri")
    assert claims_of(*uris) == ["models", "ckpt"]


@pytest.mark.parametrize("text", ["pvc://models/../other", "pvc://models/.", "gs://bucket", "pvc://models/a\n"])
def test_a_uri_that_no_pod_could_open_is_refused_with_the_object(text: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        TypeAdapter(Uri).validate_python(text)


@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": {}}])
def test_a_publisher_may_have_no_status_yet(status: dict[str, object]) -> None:
    body = {"apiVersion": "v1", "kind": "TrainingJob", "metadata": {"name": "a"}, **status}
    assert Publisher.model_validate(body).status == PublisherStatus()
