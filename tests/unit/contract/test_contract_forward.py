"""Progress gets to the operator though one of its pods refuses."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from modelyard.contract import forward
from modelyard.contract.reports import ProgressReport

BODY = forward.own_words(ProgressReport(stage="Running", step=3, time="2026-05-01T12:00:00Z"))


class Taking(BaseHTTPRequestHandler):
    """Takes every report."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def reserved() -> Iterator[socket.socket]:
    """A port that refuses until somebody listens there."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder


def test_the_last_report_is_tried_again_where_it_is_refused(
    reserved: socket.socket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = reserved.getsockname()[1]
    taken: list[HTTPServer] = []

    def listen(_: float) -> None:
        if not taken:
            server = HTTPServer(("127.0.0.1", port), Taking, bind_and_activate=False)
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.server_bind()
            server.server_activate()
            taken.append(server)
            threading.Thread(target=server.handle_request, daemon=True).start()

    monkeypatch.setattr(time, "sleep", listen)
    server = forward.Operator(f"http://127.0.0.1:{port}/", None, None)
    assert forward._failures(server, BODY, print, before=0, tries=6) == 0
    taken[0].server_close()
    assert capsys.readouterr().out == ""


def test_who_cannot_be_reached_is_named_once(reserved: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    server = forward.Operator(f"http://127.0.0.1:{reserved.getsockname()[1]}/", None, None)
    failures = 0
    for _ in range(9):
        failures = forward._failures(server, BODY, print, before=failures, tries=1)
    assert failures == 9
    assert capsys.readouterr().out.count("progress does not reach") == 1
