"""The ``modelyard`` command: argument parsing and printing. Exit codes: 0 done, 1 a job failed, 2 bad input."""

import sys
from collections.abc import Iterator
from typing import NoReturn

from modelyard.cli.app import app
from modelyard.cli.errors import BackgroundError, BadInput
from modelyard.clusters.process.lock import Busy


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except BadInput as error:
        _fail(2, *error.lines)
    except Busy as error:
        _fail(2, str(error))
    except (OSError, BackgroundError) as error:
        _fail(1, str(error))
    except ExceptionGroup as group:
        disk, rest = group.split(OSError)
        if rest is not None or disk is None:
            raise
        _fail(1, *(str(error) for error in _leaves(disk)))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _fail(code: int, *lines: str) -> NoReturn:
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    sys.exit(code)
