"""Progress on its way to the operator: each change, at most one in two seconds, and the last one at the end.

The operator may be away: it reads the end of the story from the termination message, so that nothing here fails a run.
"""

import json
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

from modelyard.contract.reports import ProgressReport
from modelyard_trainer import status
from modelyard_trainer.console import say
from modelyard_trainer.endpoint import CA_CERT, TOKEN, URL

_EVERY_SECONDS = 2.0
_SOON_SECONDS = 0.25
_AGAIN_SECONDS = 0.05
"""Before another try of the last report, which the end of the pod waits for."""
_TRIES = 6
"""Of two operator pods one waits, and refuses: another try may reach the other one."""
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Server:
    """Where the operator takes progress."""

    url: str
    ca_cert: Path | None
    """Its certificate; None for what the machine trusts."""
    token: Path | None
    """The file with this pod's token, which is replaced now and then."""

    def send(self, report: ProgressReport) -> None:
        """One request. Raises OSError or HTTPException, of which URLError and HTTPError are the usual ones."""
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.read_text().strip()}"
        request = urllib.request.Request(  # noqa: S310 - the operator chose the scheme
            self.url, json.dumps(status.body(report)).encode(), headers, method="POST"
        )
        context = None
        if self.url.startswith("https:"):
            context = ssl.create_default_context(cafile=None if self.ca_cert is None else str(self.ca_cert))
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context).close()  # noqa: S310


def from_environment(environment: Mapping[str, str]) -> Server | None:
    """The operator's server, if one takes progress; to be read before the ranks are given another."""
    url = environment.get(URL)
    if not url:
        return None
    ca_cert, token = environment.get(CA_CERT), environment.get(TOKEN)
    return Server(url, Path(ca_cert) if ca_cert else None, Path(token) if token else None)


@contextmanager
def forwarded(server: Server | None, newest: Callable[[], ProgressReport | None]) -> Iterator[None]:
    """Send what ``newest`` gives until the end of the block, and once more then, by a thread."""
    if server is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_forward, args=(server, newest, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_TIMEOUT_SECONDS * 2)


def _forward(server: Server, newest: Callable[[], ProgressReport | None], ended: threading.Event) -> None:
    sent: ProgressReport | None = None
    failures = 0
    last = False
    while not last:
        soon = sent is None or 0 < failures < _TRIES
        last = ended.wait(_SOON_SECONDS if soon else _EVERY_SECONDS)
        report = newest()
        if report is None or report == sent:
            continue
        failures = _failures(server, report, before=failures, tries=_TRIES if last else 1)
        if failures == 0:
            sent = report


def _failures(server: Server, report: ProgressReport, *, before: int, tries: int) -> int:
    """Send a report; returns 0, or how often that has failed in a row, which is told once."""
    for number in range(before + 1, before + tries + 1):
        try:
            server.send(report)
        except (OSError, HTTPException) as error:
            if number == _TRIES:
                say(f"modelyard: progress does not reach {server.url}: {error}; the training goes on")
            if number == before + tries or not isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                return number
            time.sleep(_AGAIN_SECONDS)
        else:
            return 0
    raise AssertionError("the last try returns")
