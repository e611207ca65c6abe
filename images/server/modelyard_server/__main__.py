"""``python -m modelyard_server``: read the run file, serve, and say in the termination message why not."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from pathlib import Path

import uvloop
from pydantic import ValidationError

from modelyard.contract import layout
from modelyard.contract.reports import Termination
from modelyard.contract.runs import ServeRun
from modelyard.storage.errors import StorageError
from modelyard_server.errors import StartError
from modelyard_server.lifecycle import serve

_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a pod is reached from other nodes; a laptop sets MODELYARD_HOST


def main() -> int:
    """Serve until told to stop; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        run = _read(layout.run_file())
        listener = _listen(os.environ.get(layout.HOST_VARIABLE, _ALL_ADDRESSES), layout.SERVER_PORT)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(run, listener))
    except (StartError, StorageError) as error:
        termination = Termination(outcome="Failed", reason=error.reason, message=str(error))
        with contextlib.suppress(OSError):  # then the line below is all there is
            termination.write()
        sys.stderr.write(f"{error.reason}: {error}\n")
        return 1
    return 0


def _read(path: Path) -> ServeRun:
    try:
        return ServeRun.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StartError("RunFileInvalid", f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise StartError("RunFileInvalid", f"{path}: {field}: {first['msg']}") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError("AddressInUse", f"{host}:{port} is in use; stop what listens there") from error
        raise StartError("AddressUnavailable", f"{host}:{port}: {error.strerror}") from error


if __name__ == "__main__":
    code = main()
    # A thread inside ONNX Runtime cannot be interrupted, and an ordinary exit would wait for it past the grace period.
    logging.shutdown()
    os._exit(code)
