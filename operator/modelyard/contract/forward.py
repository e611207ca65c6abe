"""A pod's reports on their way to the operator: each change, at most one in two seconds, and the last one at the end.

The operator may be away: it reads the end of the story from the termination message, so that nothing here fails a run.
"""

import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from pydantic import JsonValue

from modelyard.contract import layout
from modelyard.contract.reports import ProgressReport

FAILURES = (OSError, HTTPException)
"""What ``send`` raises, of which URLError and HTTPError are the usual ones."""
_EVERY_SECONDS = 2.0
_SOON_SECONDS = 0.25
_AGAIN_SECONDS = 0.05
"""Before another try of the last report, which the end of the pod waits for."""
_TRIES = 6
"""Of two operator pods one waits, and refuses: another try may reach the other one."""
_TIMEOUT_SECONDS = 5.0

Body = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Operator:
    """Where the operator takes the reports of this pod."""

    url: str
    ca_cert: Path | None
    """Its certificate; None for what the machine trusts."""
    token: Path | None
    """The file with this pod's token, which is replaced now and then."""

    def send(self, body: Body) -> None:
        """One request. Raises FAILURES."""
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.read_text().strip()}"
        request = urllib.request.Request(  # noqa: S310 - the operator chose the scheme
            self.url, json.dumps(body).encode(), headers, method="POST"
        )
        context = None
        if self.url.startswith("https:"):
            context = ssl.create_default_context(cafile=None if self.ca_cert is None else str(self.ca_cert))
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context).close()  # noqa: S310


def operator_of_this_pod() -> Operator | None:
    """Where this pod reports in our own words, as its run files and MODELYARD_PROGRESS_URL say, or None."""
    url = os.environ.get(layout.PROGRESS_URL_VARIABLE)
    if not url:
        return None
    root = layout.root()
    return Operator(url, root / layout.CONFIG / layout.PROGRESS_CERTIFICATE_FILE, root / layout.TOKEN / "token")


def own_words(report: ProgressReport) -> Body:
    """What is sent there."""
    return {"modelyard": report.model_dump(mode="json", exclude_none=True)}


@contextmanager
def forwarded(
    operator: Operator | None, newest: Callable[[], Body | None], complain: Callable[[str], None]
) -> Iterator[None]:
    """Send what ``newest`` gives until the end of the block, and once more then, by a thread.

    ``complain`` is told once where that fails again and again.
    """
    if operator is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_forward, args=(operator, newest, complain, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_TIMEOUT_SECONDS * 2)


def _forward(
    operator: Operator, newest: Callable[[], Body | None], complain: Callable[[str], None], ended: threading.Event
) -> None:
    sent: Body | None = None
    failures = 0
    last = False
    while not last:
        soon = sent is None or 0 < failures < _TRIES
        last = ended.wait(_SOON_SECONDS if soon else _EVERY_SECONDS)
        body = newest()
        if body is None or body == sent:
            continue
        failures = _failures(operator, body, complain, before=failures, tries=_TRIES if last else 1)
        if failures == 0:
            sent = body


def _failures(operator: Operator, body: Body, complain: Callable[[str], None], *, before: int, tries: int) -> int:
    """Send a report; returns 0, or how often that has failed in a row, which is told once."""
    for number in range(before + 1, before + tries + 1):
        try:
            operator.send(body)
        except FAILURES as error:
            if number == _TRIES:
                complain(f"progress does not reach {operator.url}: {error}; the work goes on")
            if number == before + tries or not isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                return number
            time.sleep(_AGAIN_SECONDS)
        else:
            return 0
    raise AssertionError("the last try returns")
