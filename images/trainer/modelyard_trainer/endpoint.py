"""Kubeflow Trainer's status endpoint on this pod's loopback address, for scripts that know that protocol.

Ranks find it by the protocol's own variables, in a cluster and on a laptop alike, and need no way to the operator: what
they tell goes where ``run.report`` puts it.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract.forward import Operator
from modelyard_trainer.status import Update

URL = "KUBEFLOW_TRAINER_SERVER_URL"
CA_CERT = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105 - the name of a variable that holds a path
VARIABLES = (URL, CA_CERT, TOKEN)
_LARGEST_BODY = 64 * 1024
_POLL_SECONDS = 0.05
"""So long the end of the server is waited for, and with it the end of the pod."""


def operator(environment: Mapping[str, str]) -> Operator | None:
    """The operator, if it takes progress; to be read before ranks are offered this pod's own address."""
    url = environment.get(URL)
    if not url:
        return None
    ca_cert, token = environment.get(CA_CERT), environment.get(TOKEN)
    return Operator(url, Path(ca_cert) if ca_cert else None, Path(token) if token else None)


@contextmanager
def offered(folder: Path, take: Callable[[Update], None]) -> Iterator[None]:
    """Listen until the end of the block, and put the address into VARIABLES of this process's environment, for ranks.

    Who cannot read ``folder`` has no token and is refused. ``take`` is called in threads. Raises OSError.
    """
    token = secrets.token_urlsafe(32)
    file = folder / "status-token"
    file.touch(mode=0o600)
    file.write_text(token)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            if not secrets.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
                return self.answer(HTTPStatus.UNAUTHORIZED, "a token is needed; the file is named by " + TOKEN)
            size = self.headers.get("Content-Length", "")
            if not size.isdecimal() or int(size) > _LARGEST_BODY:
                return self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_LARGEST_BODY} bytes")
            try:
                take(Update.model_validate_json(self.rfile.read(int(size))))
            except ValidationError as error:
                return self.answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            return self.answer(HTTPStatus.OK, "")

        def answer(self, status: HTTPStatus, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Progress is told elsewhere."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="status-endpoint", daemon=True)
    thread.start()
    os.environ |= {URL: f"http://127.0.0.1:{server.server_port}/status", TOKEN: str(file)}
    os.environ.pop(CA_CERT, None)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
