"""How the log reads."""

import json
import logging
import sys

import pytest

from modelyard.telemetry.logs import JsonFormatter, RetryFilter


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, None, None)


def retry(number: int, error: str = "ClientConnectorError(1)") -> logging.LogRecord:
    text = f"Request attempt #{number}/254 failed; will retry: GET https://x/apis -> {error}"
    return record("kopf._cogs.clients.watching", text)


@pytest.mark.parametrize(
    ("said", "away", "expected"),
    [
        (retry(1), False, False),
        (retry(9), False, False),
        (retry(200), True, False),
        (retry(10), False, True),
        (retry(1, "APIForbiddenError('no')"), True, True),
        (record("kopf._core", "Watcher for jobs has failed"), True, True),
        (record("modelyard.engine", "Request attempt #1 failed; will retry: ours"), True, True),
    ],
    ids=["first", "ninth", "in an outage", "a watch's own trouble", "forbidden", "another error", "not kopf's"],
)
def test_only_retries_of_watches_in_an_outage_are_left_out(
    said: logging.LogRecord, *, away: bool, expected: bool
) -> None:
    assert RetryFilter(lambda: away).filter(said) == expected


def test_a_record_is_a_line_of_json() -> None:
    try:
        int("no")
    except ValueError:
        said = logging.LogRecord("modelyard.engine", logging.WARNING, "", 0, "%s: failed", ("a\nb",), sys.exc_info())
    said.created = 0.5
    text = JsonFormatter().format(said)
    line = json.loads(text)
    exception = line.pop("exception")
    assert line == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "WARNING",
        "logger": "modelyard.engine",
        "message": "a\nb: failed",
    }
    assert exception.endswith("'no'")
    assert "\n" not in text
