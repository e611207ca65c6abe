"""How the operator's log reads: as lines or as JSON, and short while the API server is away."""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]
RETRY = re.compile(r"Request attempt #(\d+)(/\d+)? failed; will retry: (?!.*Forbidden)")
PATIENCE = 10
"""Tries of one watch, a minute of them: by then the client has noticed an outage too, or only the watch has trouble."""


def configure(form: LogFormat) -> None:
    """Write from level INFO on to standard error; kopf from WARNING on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    if form == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def silence_retries(away: Callable[[], bool]) -> None:
    """Leave out that a watch tries again, while ``away`` says that all do: one line has said so."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(RetryFilter(away))


class RetryFilter(logging.Filter):
    """Drops what kopf says at each try of each watch, in the first minute and while the API server is away.

    What is forbidden is no outage, and always said.
    """

    def __init__(self, away: Callable[[], bool]) -> None:
        super().__init__("kopf")
        self._away = away

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        tried = RETRY.match(record.getMessage()) if super().filter(record) else None
        return tried is None or (int(tried[1]) >= PATIENCE and not self._away())
