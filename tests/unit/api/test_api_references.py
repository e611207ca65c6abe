import pytest
from pydantic import TypeAdapter, ValidationError

from modelyard.api.references import Publisher, PublisherStatus, Uri, claims_of
from modelyard.api.settings import Settings


def test_each_claim_is_named_once_in_order() -> None:
    uris = ("pvc://models/a", None, "file:///srv", "pvc://ckpt/b", "pvc://models/c", "no uri")
    assert claims_of(*uris) == ["models", "ckpt"]


@pytest.mark.parametrize("text", ["pvc://models/../other", "pvc://models/.", "gcs://bucket", "pvc://models/a\n"])
def test_a_uri_that_no_pod_could_open_is_refused_with_the_object(text: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        TypeAdapter(Uri).validate_python(text)


@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": {}}])
def test_a_publisher_may_have_no_status_yet(status: dict[str, object]) -> None:
    body = {"apiVersion": "v1", "kind": "TrainingJob", "metadata": {"name": "a"}, **status}
    assert Publisher.model_validate(body).status == PublisherStatus()


@pytest.mark.parametrize(
    ("uri", "context", "fits"),
    [
        ("file:///srv/models", Settings(file_uris=False), False),
        ("pvc://models", Settings(file_uris=False), True),
        ("file:///srv/models", Settings(), True),
        ("file:///srv/models", None, True),
    ],
)
def test_a_file_of_one_machine_is_refused_where_pods_run_on_many(
    uri: str, context: Settings | None, *, fits: bool
) -> None:
    try:
        found = TypeAdapter(Uri).validate_python(uri, context=context) == uri
    except ValidationError as error:
        found = "write pvc://" not in str(error)
    assert found == fits
