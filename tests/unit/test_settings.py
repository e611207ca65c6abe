import pytest

from modelyard.settings import from_environment


def test_an_empty_environment_has_an_answer_to_everything() -> None:
    found = from_environment({})
    assert (found.probe_port, found.metrics_port, found.log_format) == (8081, 8080, "text")
    assert (found.namespaces, found.lease_namespace, found.images.file_uris) == ((), None, False)


@pytest.mark.parametrize("name", ["MODELYARD_PROBE_PORT", "MODELYARD_METRICS_PORT"])
@pytest.mark.parametrize("text", ["http", "", "0", "65536", "-1"])
def test_a_port_that_is_none_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: '{text}' is not a port; write a number from 1 to 65535"):
        from_environment({name: text})


def test_a_log_format_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="MODELYARD_LOG_FORMAT: 'xml' is no format; write text or json"):
        from_environment({"MODELYARD_LOG_FORMAT": "xml"})
