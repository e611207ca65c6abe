"""Progress on its way to the operator: each change, at most one in two seconds, and the last one at the end.

The operator may be away: it reads the end of the story from the termination message, so that nothing here fails a run.
"""

import json
import ssl
import threading
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
    told = False
    last = False
    while not last:
        last = ended.wait(_EVERY_SECONDS if sent is not None or told else _EVERY_SECONDS / 8)
        report = newest()
        if report is None or report == sent:
            continue
        try:
            server.send(report)
            sent, told = report, False
        except (OSError, HTTPException) as error:
            if not told:
                say(f"modelyard: progress does not reach {server.url}: {error}; the training goes on")
            told = True
